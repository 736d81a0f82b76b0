package render

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/util/validation"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// DefaultKubeVersion is the version that charts see when neither a cluster
// nor the target says which.
const DefaultKubeVersion = "v1.37.0"

// maxBroken is how many broken templates are looked for.
const maxBroken = 20

// release is one chart on its way to objects.
type release struct {
	*run
	files  *chartFiles
	file   string // the chart's own file, for mistakes that have no other
	values map[string]any
	broken map[string]bool // templates left out because of a mistake
	used   *used
	moment Moment
}

// helm renders a chart.
func (r *run) helm() error {
	files, name, err := r.chartOf()
	if err != nil || files == nil {
		return err
	}
	values, err := r.chartValues()
	if err != nil {
		return err
	}
	h := &release{run: r, files: files, file: name, values: values, broken: map[string]bool{}, used: newUsed(), moment: Moment{Revision: 1}}
	h.silent()
	if r.helmSpec().Mode == Release {
		return h.asRelease()
	}
	first, err := h.all()
	if err != nil {
		return r.softFailure(err)
	}
	for _, c := range first.crds {
		h.objects(c.name, string(c.data), c.data)
	}
	for _, t := range sortedKeys(first.texts) {
		h.objects(t, first.texts[t], first.sources[t])
	}
	h.same(first)
	h.used.warn(h, first)
	h.undecided(h.file, h.waits())
	if h.out.Diagnostics.Err() != nil && h.guessed() {
		h.note("the chart of %s asks what the cluster can do, which is not known here", h.in.Path)
	}
	r.soften()
	return nil
}

// softFailure reports a mistake that may come from a value that is not known.
func (r *run) softFailure(err error) error {
	if err := r.failure(err); err != nil {
		return err
	}
	r.soften()
	return nil
}

func (r *run) helmSpec() HelmSpec {
	if r.in.Spec.Helm == nil {
		return HelmSpec{}
	}
	return *r.in.Spec.Helm
}

// output is what a chart renders to.
type output struct {
	texts   map[string]string // by template
	notes   map[string]string // what is told to people
	sources map[string][]byte // the templates themselves
	crds    []crdFile
	chart   *chart.Chart
}

type crdFile struct {
	name string
	data []byte
}

// all renders the chart, and once more without each template that fails, so
// that all mistakes are found at once.
func (h *release) all() (*output, error) {
	for range maxBroken {
		out, failed, err := h.once()
		if err == nil {
			return out, nil
		}
		top, d := h.mistake(out, err)
		if failed {
			h.out.Diagnostics = append(h.out.Diagnostics, d)
		}
		if !failed || top == "" || h.broken[top] {
			if failed {
				return out, nil
			}
			return nil, err
		}
		h.broken[top] = true
	}
	return &output{}, nil
}

// once loads and renders the chart. failed tells that templates did, not the
// chart as a whole.
func (h *release) once() (out *output, failed bool, err error) {
	c, err := h.load()
	if err != nil {
		return nil, false, err
	}
	caps, err := h.capabilities()
	if err != nil {
		return nil, false, err
	}
	if err := h.wanted(c, caps); err != nil {
		return nil, false, err
	}
	values := deepCopy(h.values)
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		return nil, false, bad(h.file, 0, "", "%v", err)
	}
	top, err := util.ToRenderValuesWithSchemaValidation(c, values, common.ReleaseOptions{
		Name: h.releaseName(c), Namespace: h.namespace(),
		Revision: h.moment.Revision, IsInstall: !h.moment.Upgrade, IsUpgrade: h.moment.Upgrade}, caps, true)
	if err != nil {
		return nil, false, bad(h.file, 0, "", "%v", err)
	}
	if err := h.schema(c, top["Values"]); err != nil {
		return nil, false, err
	}
	out = h.describe(c)
	e := engine.Engine{CustomTemplateFuncs: h.used.funcs()}
	out.texts, err = e.RenderWithContext(h.ctx, c, top)
	for name, text := range out.texts {
		if strings.HasSuffix(name, "NOTES.txt") {
			out.notes[name] = text
		}
		if strings.HasSuffix(name, "NOTES.txt") || strings.TrimSpace(text) == "" {
			delete(out.texts, name)
		}
	}
	return out, err != nil, err
}

// wanted checks the version of Kubernetes that a chart wants. Where nobody
// knows the cluster's version the session finds out.
func (h *release) wanted(c *chart.Chart, caps *common.Capabilities) error {
	k := c.Metadata.KubeVersion
	switch {
	case k == "" || chartutil.IsCompatibleRange(k, caps.KubeVersion.String()):
		return nil
	case h.in.Capabilities.KubeVersion == "" && h.helmSpec().KubeVersion == "":
		h.note("the chart of %s wants Kubernetes %s, and which the cluster has is not known here", h.in.Path, k)
		return nil
	}
	return bad(h.file, 0, "set helm.kubeVersion if that is not the cluster's version", "the chart wants Kubernetes %s, and this is %s", k, caps.KubeVersion.Version)
}

// guessed tells that a mistake may come from not knowing the cluster: the
// chart asks what it can do, and nobody has said.
func (h *release) guessed() bool {
	return h.in.Capabilities.APIVersions == nil && h.in.Capabilities.KubeVersion == "" &&
		slices.ContainsFunc(h.files.list, func(f *archive.BufferedFile) bool { return bytes.Contains(f.Data, []byte(".Capabilities")) })
}

// silent notes that the chart asks for a kind of which nobody can tell whether
// the cluster has it: what it leaves out for that is not gone.
func (h *release) silent() {
	for _, v := range h.in.Capabilities.Silent {
		if slices.ContainsFunc(h.files.list, func(f *archive.BufferedFile) bool { return bytes.Contains(f.Data, []byte(v+"/")) }) {
			h.note("the chart of %s asks for kinds of %s, and the server behind that version does not answer now", h.in.Path, v)
		}
	}
}

// load makes a fresh chart: rendering changes it.
func (h *release) load() (*chart.Chart, error) {
	c, err := loader.LoadFiles(h.files.list)
	if err != nil {
		return nil, h.loadMistake(err)
	}
	if c.Metadata.Type == "library" {
		return nil, bad(h.file, 0, "render a chart that uses it", "%s is a library chart: it has nothing to apply", c.Name())
	}
	if err := h.dependencies(c, h.dir(), 0); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, bad(h.file, 0, "", "%v", err)
	}
	h.leaveOut(c)
	return c, nil
}

// leaveOut empties templates that were found broken.
func (h *release) leaveOut(c *chart.Chart) {
	for _, t := range c.Templates {
		if h.broken[path.Join(c.ChartFullPath(), t.Name)] {
			t.Data = nil
		}
	}
	for _, d := range c.Dependencies() {
		h.leaveOut(d)
	}
}

func (h *release) namespace() string {
	if ns := h.in.Spec.Namespace; ns != "" {
		return ns
	}
	return "default"
}

// releaseName is the one asked for, or the name of the target's directory.
func (h *release) releaseName(c *chart.Chart) string {
	if n := h.helmSpec().ReleaseName; n != "" {
		return n
	}
	n := strings.TrimSuffix(path.Base(h.in.Path), ".tgz")
	if len(n) <= 53 && len(validation.IsDNS1123Subdomain(n)) == 0 {
		return n
	}
	return c.Name()
}

func (h *release) capabilities() (*common.Capabilities, error) {
	spec, caps := h.helmSpec(), common.DefaultCapabilities.Copy()
	text := DefaultKubeVersion
	for _, v := range []string{h.in.Capabilities.KubeVersion, spec.KubeVersion} {
		if v != "" {
			text = v
		}
	}
	v, err := common.ParseKubeVersion(text)
	if err != nil {
		return nil, bad(h.in.Path, 0, "write it as in 1.37.2", "%q is no version of Kubernetes", text)
	}
	caps.KubeVersion = *v
	known := h.in.Capabilities.APIVersions
	if known == nil {
		known = common.DefaultVersionSet
	}
	caps.APIVersions = append(slices.Clone(known), spec.APIVersions...)
	return caps, nil
}

// describe lists templates and CRDs of a chart whose dependencies are sorted
// out.
func (h *release) describe(c *chart.Chart) *output {
	out := &output{sources: map[string][]byte{}, notes: map[string]string{}, chart: c}
	var visit func(c *chart.Chart)
	visit = func(c *chart.Chart) {
		for _, t := range c.Templates {
			out.sources[path.Join(c.ChartFullPath(), t.Name)] = t.Data
		}
		for _, d := range c.Dependencies() {
			visit(d)
		}
	}
	visit(c)
	if h.helmSpec().SkipCRDs {
		return out
	}
	for _, crd := range c.CRDObjects() {
		out.crds = append(out.crds, crdFile{name: crd.Filename, data: crd.File.Data})
	}
	return out
}

// objects reads what a template became. Places are those of the template, as
// near as they can be told.
func (h *release) objects(name, text string, source []byte) {
	file := h.files.from(source)
	if file == "" {
		file = name
	}
	docs, found := manifest.Lenient(file, []byte(text))
	l := newLines(text, string(source))
	for _, doc := range docs {
		for _, o := range doc.Objects(&found) {
			o.Source.Line = l.ofObject(o.Source.Line, o.GetKind())
			if h.helmSpec().SkipTests && isTest(&o) {
				continue
			}
			h.out.Objects = append(h.out.Objects, o)
		}
	}
	for i := range found {
		d := &found[i]
		rendered := d.Line
		if d.Line = l.of(rendered); d.Line == 0 || string(source) != text && !l.exact(rendered) {
			d.Message += fmt.Sprintf(" (line %d of what the template renders to)", rendered)
		}
		if d.Mend == manifest.TemplateTip {
			d.Mend = ""
		}
	}
	h.out.Diagnostics = append(h.out.Diagnostics, found...)
}

func isTest(o *manifest.Object) bool {
	for hook := range strings.SplitSeq(o.GetAnnotations()["helm.sh/hook"], ",") {
		if h := strings.TrimSpace(hook); h == "test" || h == "test-success" || h == "test-failure" {
			return true
		}
	}
	return false
}

// dir is the chart's directory, "" for one that is packed.
func (h *release) dir() string {
	if path.Base(h.file) == "Chart.yaml" {
		return path.Dir(h.file)
	}
	return ""
}

func (h *release) at(file string, line int) plan.Source { return plan.Source{File: file, Line: line} }
