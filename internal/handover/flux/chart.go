package flux

import (
	"cmp"
	"path"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/handover"
)

// chart is where the chart of a HelmRelease comes from.
type chart struct {
	repository  *handover.Repository // of a chart in Git
	dir         string
	artefact    *handover.Artefact // of one outside
	source      handover.Source    // what has to be allowed for it
	missing     string             // what is to be filled in
	valuesFiles []string
	inPackage   bool // the values files are the chart's own
}

// chart finds the chart of a HelmRelease: of a chart template, a HelmChart
// object or an OCI artefact.
func (c *converter) chart(o *handover.Object) *chart {
	if ref := o.At("spec", "chartRef"); ref.Has() {
		ref.Ignore("apiVersion")
		kind, ns, name := ref.At("kind").Text(), cmp.Or(ref.At("namespace").Text(), o.GetNamespace()), ref.At("name").Text()
		other := c.set.Find(sourceGroup, kind, ns, name)
		switch {
		case other == nil:
			c.out.Lost(o, ref.Path(), handover.Name(kind, ns, name)+" is not among the objects", "give the file that defines it as well")
			return nil
		case kind == "OCIRepository":
			return c.ociChart(o, other)
		case kind == "HelmChart":
			return c.chartOf(o, other, other.At("spec"), other)
		}
		c.out.Lost(o, ref.Path(), "trueup takes no chart from a "+kind, "keep the chart in Git, a registry or a chart repository")
		return nil
	}
	tmpl := o.At("spec", "chart")
	if !tmpl.Has() {
		c.out.Lost(o, "spec.chart", "it names no chart", "correct the HelmRelease")
		return nil
	}
	tmpl.At("metadata").Ignore()
	made := c.set.Find(sourceGroup, "HelmChart", o.GetNamespace(), o.GetNamespace()+"-"+o.GetName())
	return c.chartOf(o, o, tmpl.At("spec"), made)
}

// chartOf reads a chart template. Made is the HelmChart that Flux made of it,
// if it was read from a cluster.
func (c *converter) chartOf(o, in *handover.Object, spec *handover.Fields, made *handover.Object) *chart {
	for _, f := range []string{"interval", "reconcileStrategy", "ignoreMissingValuesFiles"} {
		spec.Ignore(f)
	}
	if v := spec.At("suspend"); v.Yes() {
		c.out.Differs(in, v.Path(), "a chart can't be suspended by itself", "suspend the target")
	}
	c.unverified(in, spec.At("verify"))
	ref := spec.At("sourceRef")
	ref.Ignore("apiVersion")
	kind, ns, name := ref.At("kind").Text(), cmp.Or(ref.At("namespace").Text(), in.GetNamespace()), ref.At("name").Text()
	out := &chart{valuesFiles: spec.At("valuesFiles").Texts()}
	if one := spec.At("valuesFile").Text(); one != "" {
		out.valuesFiles = append(out.valuesFiles, one)
	}
	where, version := spec.At("chart").Text(), spec.At("version").Text()
	switch kind {
	case "GitRepository":
		dir, ok := handover.InTree(where)
		out.repository, out.dir = c.sources[ns+"/"+name], dir
		if out.repository == nil || !ok {
			c.out.Lost(o, ref.Path(), handover.Name(kind, ns, name)+" is not among the objects, or the chart leaves it", "give the file that defines it as well")
			return nil
		}
		return out
	case "HelmRepository":
		if from := c.set.Find(sourceGroup, kind, ns, name); from != nil {
			c.fromHelmRepository(o, out, from, where, version, made)
			return out
		}
		c.out.Lost(o, ref.Path(), handover.Name(kind, ns, name)+" is not among the objects", "give the file that defines it as well")
		return nil
	}
	c.out.Lost(o, ref.Path(), "trueup takes no chart from a "+kind, "keep the chart in Git, a registry or a chart repository")
	return nil
}

func (c *converter) unverified(o *handover.Object, v *handover.Fields) {
	if v.Has() {
		v.Ignore()
		c.out.Lost(o, v.Path(), "artefacts are pinned by digest; their signatures are not checked", "check the signature once, when the digest is written down")
	}
}

func (c *converter) fromHelmRepository(o *handover.Object, out *chart, from *handover.Object, name, version string, made *handover.Object) {
	spec := from.At("spec")
	url, secret := handover.GitURL(strings.TrimRight(spec.At("url").Text(), "/"))
	if secret {
		c.out.Fill(from.String(), "spec.url", "the URL holds a user or a password, which is not written down", "put it under connect.sources in server.yaml, as a reference")
	}
	out.inPackage = true
	if exact := latest(o, "chartVersion"); exact != "" {
		version = exact
	}
	if spec.At("type").Text() == "oci" || strings.HasPrefix(url, "oci://") {
		out.artefact = &handover.Artefact{URL: url + "/" + name, Version: version, Digest: latest(o, "ociDigest")}
	} else {
		out.artefact = &handover.Artefact{URL: url, Name: name, Version: version, Digest: packageDigest(made)}
	}
	c.pin(o, out, name)
	out.source = c.sourceSettings(from, url)
	c.sourceRest(from)
}

var digestForm = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// packageDigest is the digest of a chart's package, as source-controller has
// fetched it. It repacks a chart whose values files were merged.
func packageDigest(made *handover.Object) string {
	if made == nil {
		return ""
	}
	if spec, _ := made.Object["spec"].(map[string]any); spec["valuesFiles"] != nil {
		return ""
	}
	status, _ := made.Object["status"].(map[string]any)
	artifact, _ := status["artifact"].(map[string]any)
	text, _ := artifact["digest"].(string)
	return digestForm.FindString(text)
}

// pin sees to it that a chart is one version, and has a digest or a place for
// one.
func (c *converter) pin(o *handover.Object, out *chart, name string) {
	a := out.artefact
	if a.Version == "" || strings.ContainsAny(a.Version, "*xX<>=~^|, ") {
		out.missing = "the version and the digest of its chart are to be filled in"
		c.out.Fill(o.String(), "spec.chart.spec.version", "a chart is pinned to one version, and "+quoted(a.Version)+" may be several", "write the version that runs (helm list -A) and its digest into spec.helm.source")
		if a.Version == "" || strings.ContainsAny(a.Version, " *<>=~^|,") {
			a.Version = "0.0.0"
		}
		a.Digest = handover.NoDigest
		return
	}
	if a.Digest == "" {
		a.Digest = handover.NoDigest
		out.missing = "the digest of its chart is to be filled in"
		c.out.Fill(o.String(), "spec.chart", "a chart is pinned by digest, and Flux does not say which it is", "write the digest of "+name+" "+a.Version+" into spec.helm.source.digest, then remove suspend")
	}
}

func quoted(s string) string {
	if s == "" {
		return "no version"
	}
	return `"` + s + `"`
}

// sourceSettings is what connect.sources needs for a chart repository or
// registry.
func (c *converter) sourceSettings(from *handover.Object, url string) handover.Source {
	spec := from.At("spec")
	s := handover.Source{URL: url, Insecure: spec.At("insecure").Yes() || strings.HasPrefix(url, "http://")}
	if name := spec.At("certSecretRef", "name").Text(); name != "" {
		_, s.CA = handover.SecretFile(from.GetName(), "ca.crt")
		c.out.Fill(handover.Name("Secret", from.GetNamespace(), name), "ca.crt", "certificates are not copied", "put the CA into "+s.CA+" beside server.yaml")
	}
	if name := spec.At("secretRef", "name").Text(); name != "" {
		ref, file := handover.SecretFile(from.GetName(), "password")
		s.Username, s.Password = "fill-in", ref
		c.out.Fill(handover.Name("Secret", from.GetNamespace(), name), "", "secrets are not copied", "write the user name of "+url+" under connect.sources of server.yaml, and put the password into "+file+" beside it")
	}
	return s
}

// sourceRest notes what has no counterpart in a chart repository or registry.
func (c *converter) sourceRest(from *handover.Object) {
	spec := from.At("spec")
	spec.Ignore("interval", "timeout", "passCredentials", "accessFrom")
	if spec.At("suspend").Yes() {
		c.out.Differs(from, "spec.suspend", "a registry can't be suspended", "suspend its targets")
	}
	for _, f := range []struct{ name, why, do string }{
		{"proxySecretRef", "proxies are set for the whole server", "set HTTPS_PROXY in the server's environment"},
		{"serviceAccountName", "trueup logs in by references", "set username and password in connect.sources"},
		{"ignore", "all files of an artefact are taken", "leave such files out of the artefact"},
		{"layerSelector", "the artefact's only layer is read", "push the manifests as one layer"},
	} {
		if v := spec.At(f.name); v.Has() {
			v.Ignore()
			c.out.Lost(from, v.Path(), f.why, f.do)
		}
	}
	if p := spec.At("provider").Text(); p != "" && p != "generic" {
		c.out.Lost(from, "spec.provider", "trueup logs in to registries by references, not by the identity of provider "+p, "set username and password in connect.sources")
	}
	c.unverified(from, spec.At("verify"))
}

// ociChart is a chart in an OCI registry.
func (c *converter) ociChart(o, oci *handover.Object) *chart {
	out := &chart{inPackage: true}
	out.artefact = c.artefactOf(o, oci)
	if out.artefact.Digest == "" {
		out.artefact.Digest = latest(o, "ociDigest")
	}
	c.pin(o, out, path.Base(out.artefact.URL))
	out.source = c.sourceSettings(oci, out.artefact.URL)
	return out
}

// artefactOf reads an OCIRepository: which artefact it is, by the status of a
// live object or its own digest.
func (c *converter) artefactOf(o, oci *handover.Object) *handover.Artefact {
	spec := oci.At("spec")
	a := &handover.Artefact{URL: strings.TrimRight(spec.At("url").Text(), "/")}
	ref := spec.At("ref")
	a.Version, a.Digest = ref.At("tag").Text(), digestForm.FindString(ref.At("digest").Text())
	if s := ref.At("semver").Text(); s != "" {
		a.Version = s
		c.out.Differs(o, "spec.sourceRef", oci.String()+" follows "+quoted(s), "an artefact is pinned by digest; image updates can propose new versions as pull requests")
	}
	ref.Ignore("semverFilter")
	status, _ := oci.Object["status"].(map[string]any)
	artifact, _ := status["artifact"].(map[string]any)
	if rev, _ := artifact["revision"].(string); rev != "" { // 1.2.3@sha256:…
		tag, _, _ := strings.Cut(rev, "@")
		if !strings.HasPrefix(tag, "sha256:") {
			a.Version = tag
		}
		a.Digest = cmp.Or(a.Digest, digestForm.FindString(rev))
	}
	if a.Version == "" {
		a.Version = "latest"
	}
	c.sourceRest(oci)
	return a
}

// artefact is what a Kustomization renders from an OCI repository.
func (c *converter) artefact(o, oci *handover.Object, t *handover.Target) *handover.Artefact {
	a := c.artefactOf(o, oci)
	if a.Digest == "" {
		a.Digest = handover.NoDigest
		c.out.Fill(o.String(), "spec.sourceRef", "an artefact is pinned by digest, and the files don't say which it is", "write the digest of "+a.URL+" into spec.source.digest, then remove suspend")
		t.Hold("the digest of its artefact is to be filled in")
	}
	return a
}

// useChart writes the chart into the target.
func (c *converter) useChart(o *handover.Object, t *handover.Target, env *handover.Environment, ch *chart) {
	if ch.missing != "" {
		t.Hold(ch.missing)
	}
	if ch.artefact != nil {
		t.Spec.Helm.Source = ch.artefact
		env.Connect.AddSource(ch.source)
		return
	}
	t.Spec.Helm.Chart = handover.Relative(t.Path, ch.dir)
	t.Input(glob(ch.dir))
}
