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
	if s := spec.At("storageNamespace").Text(); s != "" && s != t.Spec.Namespace {
		c.out.Lost(o, "spec.storageNamespace", "Helm's storage is in the release's own namespace", "use helm.mode: manifests for the target "+t.Name)
		if t.Spec.Helm.Mode == "release" {
			t.Hold("Helm's storage of this release is in the namespace " + s)
		}
	}
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
	if within == 0 {
		within = handover.Duration(5 * time.Minute)
	}
	install, upgrade := spec.At("install"), spec.At("upgrade")
	if !install.At("disableWait").Yes() && !upgrade.At("disableWait").Yes() {
		t.Health = append(t.Health, handover.Health{Ready: "all", Within: within, Expressions: c.expressions(o)})
	}
	if r := upgrade.At("remediation"); r.At("retries").Number() != 0 || r.At("remediateLastFailure").Yes() {
		if s := r.At("strategy").Text(); s == "" || s == "rollback" {
			t.OnFailure = "rollback"
		} else {
			c.out.Lost(o, r.At("strategy").Path(), "trueup does not uninstall a release because an upgrade failed", "onFailure: rollback goes back to the last healthy one")
		}
	}
	upgrade.At("remediation").Ignore("retries", "ignoreTestFailures", "remediateLastFailure", "strategy")
	install.At("remediation").Ignore("retries", "ignoreTestFailures", "remediateLastFailure")
	if install.At("skipCRDs").Yes() || install.At("crds").Text() == "Skip" {
		t.Spec.Helm.SkipCRDs = true
	}
	if p := upgrade.At("crds").Text(); p == "Create" || p == "CreateReplace" {
		c.out.Differs(o, "spec.upgrade.crds", "Helm does not touch the files of a chart's directory crds in an upgrade", "with helm.mode: manifests they are applied like other objects, unless skipCRDs is set")
	}
	if install.At("crds").Text() == "CreateReplace" {
		c.out.Differs(o, "spec.install.crds", "custom resource definitions are created, not replaced", "see helm.mode: manifests")
	}
	t.Spec.Helm.SkipSchema = install.At("disableSchemaValidation").Yes() || upgrade.At("disableSchemaValidation").Yes()
}

// helmRest notes what has no counterpart.
func (c *converter) helmRest(o *handover.Object, t *handover.Target) {
	spec := o.At("spec")
	for _, f := range []struct{ path, why, do string }{
		{"install.createNamespace", "a namespace is an object of its own", "put a Namespace object for " + t.Spec.Namespace + " into Git"},
		{"install.disableHooks", "hooks are run in release mode, and refused in manifests mode", "remove the hooks from the chart's values"},
		{"upgrade.disableHooks", "hooks are run in release mode, and refused in manifests mode", "remove the hooks from the chart's values"},
		{"upgrade.force", "objects are never replaced without the operator's leave", "list the kinds under connect.recreate of the environment " + t.Environment},
		{"upgrade.preserveValues", "values come from Git alone", "write the values of `helm get values` into the target's values file"},
	} {
		v := spec.At(strings.Split(f.path, ".")...)
		if v.Has() && v.Yes() {
			c.out.Lost(o, v.Path(), f.why, f.do)
		}
	}
	if v := spec.At("postRenderers"); len(v.Items()) > 0 {
		v.Ignore()
		c.out.Lost(o, v.Path(), "trueup runs nothing over a chart's output", "set the same by the chart's values, or keep the rendered chart as the base of a kustomization")
		t.Hold("its chart was changed by postRenderers in Flux")
	}
	for _, f := range []string{"commonMetadata"} {
		if v := spec.At(f); v.Has() {
			v.Ignore()
			c.out.Lost(o, v.Path(), "labels and annotations of all objects are up to the chart", "set them by the chart's values")
		}
	}
	c.driftIgnored(o, t)
	c.helmMachinery(o)
}

// helmMachinery are settings of how Flux calls Helm, which trueup decides by
// itself.
func (c *converter) helmMachinery(o *handover.Object) {
	spec := o.At("spec")
	for _, part := range []string{"install", "upgrade", "rollback", "uninstall"} {
		for _, f := range []string{"timeout", "strategy", "disableTakeOwnership", "disableWaitForJobs", "disableOpenAPIValidation", "replace", "cleanupOnFail", "serverSideApply",
			"chartNameChangeStrategy", "disableWait", "disableHooks", "recreate", "force", "keepHistory", "deletionPropagation"} {
			if v := spec.At(part, f); v.Has() {
				v.Ignore()
				c.out.Differs(o, v.Path(), "how Helm is called is up to trueup", "see the documentation of helm.mode")
			}
		}
	}
	for _, f := range []string{"maxHistory", "persistentClient", "postRenderStrategy", "waitStrategy"} {
		if v := spec.At(f); v.Has() {
			v.Ignore()
			c.out.Differs(o, v.Path(), "how Helm is called is up to trueup", "see the documentation of helm.mode")
		}
	}
	if test := spec.At("test"); test.At("enable").Yes() {
		test.Ignore("timeout", "ignoreFailures", "filters")
		c.out.Differs(o, test.Path(), "the chart's tests are run as its specification says", "see helm.mode: release in the documentation")
	} else {
		test.Ignore()
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
