package flux

import (
	"cmp"
	"fmt"
	"path"
	"strings"
	"time"

	"trueup.dev/trueup/internal/handover"
)

// helmRelease makes a target of a HelmRelease. Its values are written into the
// repository, beside those of other targets.
func (c *converter) helmRelease(o *handover.Object) {
	t := &handover.Target{Spec: handover.Spec{Render: "helm", Helm: &handover.Helm{Mode: "release"}}}
	if c.Manifests {
		t.Spec.Helm.Mode = "manifests"
	}
	chart := c.chart(o)
	if chart == nil {
		c.unconverted(o)
		return
	}
	r := chart.repository
	if r == nil {
		if r = c.home(o); r == nil {
			c.out.Lost(o, "spec.chart", "a target stands in a Git repository, and there is none for this one", "name one with --home")
			c.unconverted(o)
			return
		}
	}
	drift := "report"
	if m := o.At("spec", "driftDetection", "mode").Text(); m == "enabled" {
		drift = "correct"
	}
	env := c.environment(o, drift)
	c.place(t, o, r, env)
	c.account(o, t, env)
	t.Path = path.Join(c.Dir, t.Name)
	env.Grant(r.Name, nil, t.Path)
	c.release(o, t)
	c.useChart(o, t, env, chart)
	c.values(o, t, r, chart)
	c.helmPolicy(o, t)
	c.helmRest(o, t)
}

// release names the release as Flux did.
func (c *converter) release(o *handover.Object, t *handover.Target) {
	spec := o.At("spec")
	target := spec.At("targetNamespace").Text()
	t.Spec.Namespace = cmp.Or(target, o.GetNamespace())
	name := spec.At("releaseName").Text()
	if name == "" {
		name = o.GetName()
		if target != "" {
			name = target + "-" + name
		}
	}
	if live := latest(o, "name"); live != "" {
		name = live
	} else if len(name) > 53 {
		c.out.Fill(o.String(), "spec.releaseName", "the name is too long, and Flux has shortened it", "write the release's name, as `helm list -A` shows it, into spec.helm.releaseName of the target "+t.Name)
		t.Hold("the name of its release is to be filled in")
		name = strings.TrimRight(name[:53], "-.")
	}
	t.Spec.Helm.ReleaseName = name
	if spec.At("suspend").Yes() {
		t.Hold("suspended in Flux")
	}
}

// latest reads a field of the newest release in the status.
func latest(o *handover.Object, field string) string {
	status, _ := o.Object["status"].(map[string]any)
	history, _ := status["history"].([]any)
	if len(history) == 0 {
		return ""
	}
	first, _ := history[0].(map[string]any)
	text, _ := first[field].(string)
	return text
}

// helmPolicy carries over what Flux does around an install and an upgrade.
func (c *converter) helmPolicy(o *handover.Object, t *handover.Target) {
	spec := o.At("spec")
	within := handover.Duration(spec.At("timeout").Duration())
	install, upgrade := spec.At("install"), spec.At("upgrade")
	rel := &handover.Release{Timeout: within, WaitForJobs: true, MaxHistory: spec.At("maxHistory").Number(), StorageNamespace: spec.At("storageNamespace").Text(),
		KeepHistory: spec.At("uninstall", "keepHistory").Yes(), Test: spec.At("test", "enable").Yes(), CreateNamespace: install.At("createNamespace").Yes(),
		DisableHooks: install.At("disableHooks").Yes() || upgrade.At("disableHooks").Yes()}
	if rel.StorageNamespace == t.Spec.Namespace {
		rel.StorageNamespace = ""
	}
	if install.At("disableWait").Yes() || upgrade.At("disableWait").Yes() {
		rel.Wait, rel.WaitForJobs = "none", false
	} else {
		if within == 0 {
			within = handover.Duration(5 * time.Minute)
		}
		t.Health = append(t.Health, handover.Health{Ready: "all", Within: within, Expressions: c.expressions(o)})
	}
	if install.At("disableWaitForJobs").Yes() || upgrade.At("disableWaitForJobs").Yes() {
		rel.WaitForJobs = false
	}
	rel.RollbackOnFailure = c.remediation(o)
	c.crds(o, t, rel)
	t.Spec.Helm.SkipSchema = install.At("disableSchemaValidation").Yes() || upgrade.At("disableSchemaValidation").Yes()
	if t.Spec.Helm.Mode == "release" {
		t.Spec.Helm.Release = rel
		return
	}
	t.Spec.CreateNamespace = rel.CreateNamespace
	if rel.RollbackOnFailure {
		t.OnFailure = "rollback"
	}
	if rel.DisableHooks {
		c.out.Lost(o, "spec.install.disableHooks", "hooks of a chart that is applied as manifests are run", "turn them off by the chart's values")
	}
}

// remediation tells whether a failed upgrade is to be rolled back.
func (c *converter) remediation(o *handover.Object) bool {
	r := o.At("spec", "upgrade", "remediation")
	o.At("spec", "install", "remediation").Ignore("retries", "ignoreTestFailures", "remediateLastFailure")
	r.Ignore("ignoreTestFailures")
	if r.At("retries").Number() == 0 && !r.At("remediateLastFailure").Yes() {
		r.Ignore("strategy")
		return false
	}
	if s := r.At("strategy").Text(); s != "" && s != "rollback" {
		c.out.Lost(o, r.At("strategy").Path(), "trueup does not uninstall a release because an upgrade failed", "helm.release.rollbackOnFailure goes back to the last one that was deployed")
		return false
	}
	return true
}

// crds carries over what becomes of the custom resource definitions of a
// chart.
func (c *converter) crds(o *handover.Object, t *handover.Target, rel *handover.Release) {
	install, upgrade := o.At("spec", "install"), o.At("spec", "upgrade")
	first, later := install.At("crds").Text(), upgrade.At("crds").Text()
	switch {
	case install.At("skipCRDs").Yes() || first == "Skip":
		rel.CRDs, t.Spec.Helm.SkipCRDs = "skip", t.Spec.Helm.Mode != "release"
	case later == "CreateReplace":
		rel.CRDs = "createReplace"
	}
	if first == "Skip" && later != "" && later != "Skip" {
		c.out.Differs(o, upgrade.At("crds").Path(), "installs and upgrades treat custom resource definitions alike", "see helm.release.crds")
	}
}

// helmRest notes what has no counterpart.
func (c *converter) helmRest(o *handover.Object, t *handover.Target) {
	spec := o.At("spec")
	if v := spec.At("upgrade", "force"); v.Yes() {
		c.out.Lost(o, v.Path(), "objects are never replaced without the operator's leave", "list the kinds under connect.recreate of the environment "+t.Environment)
	}
	if v := spec.At("upgrade", "preserveValues"); v.Yes() {
		c.out.Lost(o, v.Path(), "values come from Git alone", "write the values of `helm get values` into the target's values file")
		t.Hold("values of the release are not in Git")
	}
	if v := spec.At("postRenderers"); len(v.Items()) > 0 {
		v.Ignore()
		c.out.Lost(o, v.Path(), "trueup runs nothing over a chart's output", "set the same by the chart's values, or keep the rendered chart as the base of a kustomization")
		t.Hold("its chart was changed by postRenderers in Flux")
	}
	if v := spec.At("commonMetadata"); v.Has() {
		v.Ignore()
		c.out.Lost(o, v.Path(), "labels and annotations of all objects are up to the chart", "set them by the chart's values")
	}
	c.driftIgnored(o, t)
	c.helmMachinery(o)
}

// helmMachinery are settings of how Flux calls Helm, which trueup decides by
// itself.
func (c *converter) helmMachinery(o *handover.Object) {
	spec := o.At("spec")
	fields := [][]string{{"persistentClient"}, {"postRenderStrategy"}, {"waitStrategy"}}
	for _, part := range []string{"install", "upgrade", "rollback", "uninstall"} {
		for _, f := range []string{"timeout", "strategy", "disableTakeOwnership", "disableWaitForJobs", "disableOpenAPIValidation", "replace", "cleanupOnFail", "serverSideApply",
			"chartNameChangeStrategy", "disableWait", "disableHooks", "recreate", "force", "deletionPropagation"} {
			fields = append(fields, []string{part, f})
		}
	}
	for _, f := range []string{"timeout", "ignoreFailures", "filters"} {
		fields = append(fields, []string{"test", f})
	}
	known := map[string]bool{"install.disableWait": true, "upgrade.disableWait": true, "install.disableWaitForJobs": true, "upgrade.disableWaitForJobs": true,
		"install.disableHooks": true, "upgrade.disableHooks": true, "upgrade.force": true} // carried over already
	for _, f := range fields {
		v := spec.At(f...)
		if !v.Has() || known[strings.Join(f, ".")] {
			continue
		}
		v.Ignore()
		c.out.Differs(o, v.Path(), "how Helm is called is up to trueup", "see helm.release in the documentation of the kubernetes driver")
	}
}

// driftIgnored carries over fields whose drift Flux leaves alone.
func (c *converter) driftIgnored(o *handover.Object, t *handover.Target) {
	for _, rule := range o.At("spec", "driftDetection", "ignore").Items() {
		target := rule.At("target")
		i := handover.Ignore{Kind: target.At("kind").Text(), Namespace: target.At("namespace").Text(), Name: target.At("name").Text(), Pointers: rule.At("paths").Texts()}
		if g := target.At("group").Text(); g != "" && i.Kind != "" {
			i.Kind += "." + g
		}
		target.Ignore("version")
		for _, sel := range []string{"labelSelector", "annotationSelector"} {
			if v := target.At(sel); v.Has() {
				v.Ignore()
				c.out.Lost(o, v.Path(), "objects are chosen by kind, namespace and name", fmt.Sprintf("name them under spec.ignoreDifferences of the target %s; the entry is written without the selector", t.Name))
			}
		}
		t.Spec.IgnoreDifferences = append(t.Spec.IgnoreDifferences, i)
	}
}
