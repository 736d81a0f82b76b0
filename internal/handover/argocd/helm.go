package argocd

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"strings"

	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/handover"
)

// chart makes a target of a chart in a registry or chart repository. It stands
// in the repository of its values, or of its Application.
func (c *converter) chart(a *app, s *handover.Fields, name string) {
	url, _ := handover.GitURL(strings.TrimRight(s.At("repoURL").Text(), "/"))
	chart, version := s.At("chart").Text(), s.At("targetRevision").Text()
	s.Ignore("path")
	r := c.chartHome(a, s)
	if r == nil {
		c.out.Lost(a.Object, s.At("chart").Path(), "a target stands in a Git repository, and there is none for this one", "name one with --home")
		s.Ignore()
		return
	}
	t, env := c.target(a, r, name)
	t.Path = path.Join(c.Dir, t.Name)
	source := &handover.Artefact{URL: url, Name: chart, Version: version, Digest: handover.NoDigest}
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") { // of a registry, without its scheme
		source = &handover.Artefact{URL: "oci://" + strings.TrimPrefix(url, "oci://") + "/" + chart, Version: version, Digest: handover.NoDigest}
	}
	h := &handover.Helm{Mode: "manifests", Source: source, ReleaseName: a.GetName()}
	t.Spec.Render, t.Spec.Helm = "helm", h
	why := "the digest of its chart is to be filled in"
	if version == "" || strings.ContainsAny(version, "*<>=~^|, ") || strings.HasSuffix(version, ".x") {
		why = "the version and the digest of its chart are to be filled in"
		source.Version = "0.0.0"
	}
	c.out.Fill(a.String(), s.At("chart").Path(), "a chart is pinned to one version and its digest", fmt.Sprintf("write the version and the digest of %s (%s) into spec.helm.source of the target %s, then remove suspend", chart, cmp.Or(version, "any version"), t.Name))
	t.Hold(why)
	env.Connect.AddSource(c.chartSource(url, source.URL))
	c.values(a, s.At("helm"), t, r, "")
	c.helmOptions(a, s.At("helm"), t)
	c.place(t, r)
	env.Grant(r.Name, c.granted(a), t.Path)
}

// chartHome is the repository of a chart's values, or of its Application.
func (c *converter) chartHome(a *app, s *handover.Fields) *handover.Repository {
	for _, f := range s.At("helm", "valueFiles").Items() {
		ref, _, ok := strings.Cut(strings.TrimPrefix(f.Text(), "$"), "/")
		if from := a.refs[ref]; ok && strings.HasPrefix(f.Text(), "$") && from != nil {
			return c.repository(a.Object, from.At("repoURL").Text(), from.At("targetRevision").Text(), from.At("targetRevision").Path())
		}
	}
	return c.home(a.Object)
}

// chartSource is what connect.sources needs for a chart repository.
func (c *converter) chartSource(url, full string) handover.Source {
	out := handover.Source{URL: url}
	if strings.HasPrefix(full, "oci://") {
		out.URL = "oci://" + strings.TrimPrefix(url, "oci://")
	}
	o := c.secretOf(url)
	if o == nil {
		return out
	}
	if o.At("stringData", "password").Has() {
		name := handover.Clean(cmp.Or(o.At("stringData", "name").Text(), o.GetName()))
		ref, file := handover.SecretFile(name, "password")
		out.Username, out.Password = "fill-in", ref
		c.out.Fill(o.String(), "password", "secrets are not copied", "write the user name of "+out.URL+" under connect.sources of server.yaml, and put the password into "+file+" beside it")
	}
	out.Insecure = o.At("stringData", "insecure").Text() == "true" && strings.HasPrefix(url, "http://")
	return out
}

// helm makes a target of a chart in Git.
func (c *converter) helm(a *app, s *handover.Fields, t *handover.Target, r *handover.Repository, dir string) {
	t.Spec.Render, t.Spec.Helm = "helm", &handover.Helm{Mode: "manifests", ReleaseName: a.GetName()}
	h := s.At("helm")
	if hasInline(h) {
		t.Path = path.Join(c.Dir, t.Name)
		t.Spec.Helm.Chart = handover.Relative(t.Path, dir)
		t.Input(glob(dir))
	}
	c.values(a, h, t, r, dir)
	c.helmOptions(a, h, t)
}

func hasInline(h *handover.Fields) bool {
	for _, f := range []string{"values", "valuesObject", "parameters", "fileParameters"} {
		if h.At(f).Has() {
			return true
		}
	}
	return false
}

// values writes the values in the order in which they count: files, inline
// values, parameters.
func (c *converter) values(a *app, h *handover.Fields, t *handover.Target, r *handover.Repository, dir string) {
	for _, f := range h.At("valueFiles").Items() {
		c.valuesFile(a, f, t, r, dir)
	}
	inline := map[string]any{}
	if v := h.At("values").Text(); v != "" {
		if err := yaml.Unmarshal([]byte(v), &inline); err != nil {
			c.out.Lost(a.Object, h.At("values").Path(), "it is no mapping of values", "correct it and write it into a values file")
			t.Hold("its inline values can't be read")
		}
	}
	if v, ok := h.At("valuesObject").Any().(map[string]any); ok {
		inline = v // as Argo CD prefers it
	}
	inline = handover.Merge(nil, inline)
	for _, p := range h.At("parameters").Items() {
		c.parameter(a, p, t, inline)
	}
	for _, p := range h.At("fileParameters").Items() {
		p.Ignore("name", "path")
		c.out.Lost(a.Object, p.Path(), "a value is not read from another file", "write the content of the file into the target's values file")
		t.Hold("a value comes from a file and is to be written")
	}
	if t.Path == dir && dir != "" {
		return // the chart's own directory: nothing inline
	}
	clean, secret := handover.WithoutSecrets(inline)
	if clean == nil {
		clean = map[string]any{}
	}
	r.Write(path.Join(t.Path, "values.yaml"), handover.YAML(clean))
	t.Spec.Helm.ValuesFiles = append(t.Spec.Helm.ValuesFiles, "values.yaml")
	if len(secret) > 0 {
		t.Spec.Helm.ValuesFiles = append(t.Spec.Helm.ValuesFiles, "secret-values.yaml")
		c.out.Fill(a.String(), h.Path(), "what looks like a secret is not copied: "+strings.Join(secret, ", "),
			"write the values into "+path.Join(t.Path, "secret-values.yaml")+", encrypted with SOPS, before it is committed")
	}
}

// valuesFile carries a values file over: beside the chart, from the root of
// the repository, or from another source.
func (c *converter) valuesFile(a *app, f *handover.Fields, t *handover.Target, r *handover.Repository, dir string) {
	name := f.Text()
	var in string
	switch {
	case strings.Contains(name, "://"):
		c.out.Lost(a.Object, f.Path(), "values come from Git, not from a URL", "copy "+name+" into the repository and list it under spec.helm.valuesFiles")
		t.Hold("a values file is to be copied into the repository")
		return
	case strings.HasPrefix(name, "$"):
		ref, rest, _ := strings.Cut(name[1:], "/")
		from := a.refs[ref]
		if from == nil {
			c.out.Lost(a.Object, f.Path(), "there is no source with ref: "+ref, "list the file under spec.helm.valuesFiles")
			return
		}
		other := c.repository(a.Object, from.At("repoURL").Text(), from.At("targetRevision").Text(), from.At("targetRevision").Path())
		if other != r {
			c.out.Lost(a.Object, f.Path(), "a target reads one repository, and "+rest+" is in "+other.Name, "copy the values into "+r.Name+", or push the chart to a registry and let the target stand in "+other.Name)
			t.Hold("its values are in another repository, " + other.Name)
			return
		}
		in = rest
	case strings.HasPrefix(name, "/"):
		in = strings.TrimLeft(name, "/")
	case dir == "":
		c.out.Lost(a.Object, f.Path(), "values files are read from Git, not from the chart's package", "copy "+name+" out of the chart into "+t.Path+" and list it first under spec.helm.valuesFiles")
		t.Hold("values files of its chart are to be copied")
		return
	default:
		in = path.Join(dir, name)
	}
	p, ok := handover.InTree(in)
	if !ok {
		c.out.Lost(a.Object, f.Path(), "it leaves the repository", "move the file into it")
		return
	}
	t.Spec.Helm.ValuesFiles = append(t.Spec.Helm.ValuesFiles, handover.Relative(t.Path, p))
	if dir == "" || !strings.HasPrefix(p, dir+"/") {
		t.Input(p)
	}
}

// unescapedComma is a comma that Helm would take for the end of a value.
var unescapedComma = regexp.MustCompile(`([^\\]),`)

// parameter sets a value as `helm template --set` does.
func (c *converter) parameter(a *app, p *handover.Fields, t *handover.Target, into map[string]any) {
	name, value := p.At("name").Text(), p.At("value").Text()
	if strings.Contains(value, "$ARGOCD_") {
		c.out.Lost(a.Object, p.Path(), "trueup puts no variables into values", "write the value of "+name+" into the target's values file")
		t.Hold("the value " + name + " used a variable of Argo CD")
		return
	}
	if strings.Contains(name, "[") {
		c.out.Differs(a.Object, p.Path(), "a values file replaces a list as a whole, and "+name+" is one of its elements", "look at the list in the target's values file")
	}
	text := unescapedComma.ReplaceAllString(name, `$1\,`) + "="
	if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
		text += value
	} else {
		text += unescapedComma.ReplaceAllString(value, `$1\,`)
	}
	parse := strvals.ParseInto
	if p.At("forceString").Yes() {
		parse = strvals.ParseIntoString
	}
	if err := parse(text, into); err != nil {
		c.out.Lost(a.Object, p.Path(), "Helm does not understand the name "+name, "write the value into the target's values file")
		t.Hold("the value " + name + " is to be written")
	}
}

// helmOptions carries over how the chart is rendered.
func (c *converter) helmOptions(a *app, h *handover.Fields, t *handover.Target) {
	to := t.Spec.Helm
	to.ReleaseName = cmp.Or(h.At("releaseName").Text(), to.ReleaseName)
	to.SkipCRDs, to.SkipTests, to.SkipSchema = h.At("skipCrds").Yes(), h.At("skipTests").Yes(), h.At("skipSchemaValidation").Yes()
	to.KubeVersion, to.APIVersions = h.At("kubeVersion").Text(), h.At("apiVersions").Texts()
	if ns := h.At("namespace").Text(); ns != "" && ns != t.Spec.Namespace {
		c.out.Differs(a.Object, h.At("namespace").Path(), "a chart sees the namespace that its objects go to", "it was "+ns+" for the chart and "+t.Spec.Namespace+" for objects without one; the first plan shows what differs")
	}
	h.Ignore("version", "passCredentials")
	if v := h.At("ignoreMissingValueFiles"); v.Yes() {
		c.out.Lost(a.Object, v.Path(), "a values file that is missing is a mistake in trueup", "remove those that are missing from spec.helm.valuesFiles")
	}
}
