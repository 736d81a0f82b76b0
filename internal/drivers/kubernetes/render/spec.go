package render

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/version"

	"trueup.dev/trueup/internal/plan"
)

// Format is how files become objects.
type Format string

// The formats. The empty one is Auto.
const (
	Auto      Format = "auto"
	Plain     Format = "plain"
	Kustomize Format = "kustomize"
	Helm      Format = "helm"
	Jsonnet   Format = "jsonnet"
)

// Spec is how a target's files become objects.
type Spec struct {
	// Render is plain (YAML and JSON files), kustomize, helm or jsonnet. The
	// default, auto, goes by what lies in the path: a kustomization file, a
	// Chart.yaml or .tgz, a .jsonnet file or main.jsonnet, otherwise plain.
	Render Format `yaml:"render,omitempty" json:"render,omitempty" jsonschema:"enum=auto,enum=plain,enum=kustomize,enum=helm,enum=jsonnet"`
	// Namespace is where objects go that name none, and what a Helm chart takes
	// for the release's namespace.
	Namespace string `yaml:"namespace,omitempty" json:"namespace,omitempty"`
	// Include lists globs of files, relative to the path, that are read; the
	// default is every .yaml, .yml and .json file. Of format plain.
	Include []string `yaml:"include,omitempty" json:"include,omitempty"`
	// Exclude lists globs of files and directories that are left out. Of format
	// plain.
	Exclude []string `yaml:"exclude,omitempty" json:"exclude,omitempty"`
	// Templates lists globs of files, relative to the path, in which
	// {{ .name }} stands for a value that the target declares. Of formats plain
	// and kustomize.
	Templates []string `yaml:"templates,omitempty" json:"templates,omitempty"`
	// Source is an artefact whose files are rendered instead of the
	// repository's. Charts have a source of their own, helm.source.
	Source *Artefact `yaml:"source,omitempty" json:"source,omitempty"`
	// Helm says how a chart is rendered.
	Helm *HelmSpec `yaml:"helm,omitempty" json:"helm,omitempty"`
	// Kustomize says what a kustomization may use.
	Kustomize *KustomizeSpec `yaml:"kustomize,omitempty" json:"kustomize,omitempty"`
	// Jsonnet says how a program is evaluated.
	Jsonnet *JsonnetSpec `yaml:"jsonnet,omitempty" json:"jsonnet,omitempty"`
}

// Source is an artefact outside of Git, pinned by digest.
type Source struct {
	// URL is oci://host/repository, or https://host of a chart repository.
	URL string `yaml:"url" json:"url" jsonschema:"required"`
	// Name and Version find a chart in a chart repository; of an OCI artefact
	// Version is its tag, for people: the digest decides.
	Name    string `yaml:"name,omitempty" json:"name,omitempty"`
	Version string `yaml:"version,omitempty" json:"version,omitempty"`
	// Digest is sha256:… of the artefact's manifest, or of a chart's package.
	Digest string `yaml:"digest" json:"digest" jsonschema:"required"`
}

// Artefact is a source of files, and the path inside of it that is rendered.
type Artefact struct {
	Source `yaml:",inline"`
	// Path is a file or directory of the artefact; the default is all of it.
	Path string `yaml:"path,omitempty" json:"path,omitempty"`
}

// HelmSpec says how a chart is rendered.
type HelmSpec struct {
	// Chart is a directory or .tgz, relative to the path; the default is the
	// path itself.
	Chart string `yaml:"chart,omitempty" json:"chart,omitempty"`
	// Source is a chart outside of Git.
	Source *Source `yaml:"source,omitempty" json:"source,omitempty"`
	// Mode is manifests (the chart's objects are applied as any others) or
	// release (Helm's own storage, hooks and history).
	Mode string `yaml:"mode,omitempty" json:"mode,omitempty" jsonschema:"enum=manifests,enum=release"`
	// ReleaseName is the default of the target's directory.
	ReleaseName string `yaml:"releaseName,omitempty" json:"releaseName,omitempty"`
	// ValuesFiles are read in this order, relative to the path; later ones win.
	ValuesFiles []string `yaml:"valuesFiles,omitempty" json:"valuesFiles,omitempty"`
	// Values win over ValuesFiles.
	Values map[string]any `yaml:"values,omitempty" json:"values,omitempty"`
	// ValuesFrom sets values by their path in dots (ingress.ip) to values that
	// the target declares. They win over the others.
	ValuesFrom map[string]string `yaml:"valuesFrom,omitempty" json:"valuesFrom,omitempty"`
	// SkipCRDs leaves the files of the chart's directory crds out.
	SkipCRDs bool `yaml:"skipCRDs,omitempty" json:"skipCRDs,omitempty"`
	// SkipTests leaves objects out that are tests of the chart.
	SkipTests bool `yaml:"skipTests,omitempty" json:"skipTests,omitempty"`
	// SkipSchema leaves the check of the values by the chart's schema out.
	SkipSchema bool `yaml:"skipSchema,omitempty" json:"skipSchema,omitempty"`
	// KubeVersion is the version that templates see; the default is the
	// cluster's.
	KubeVersion string `yaml:"kubeVersion,omitempty" json:"kubeVersion,omitempty"`
	// APIVersions are kinds that templates may count on beside the cluster's,
	// as in monitoring.coreos.com/v1/ServiceMonitor.
	APIVersions []string `yaml:"apiVersions,omitempty" json:"apiVersions,omitempty"`
	// Release says how a release is installed, upgraded and uninstalled. Of mode
	// release.
	Release *ReleaseSpec `yaml:"release,omitempty" json:"release,omitempty"`
}

// KustomizeSpec says what a kustomization may use.
type KustomizeSpec struct {
	// Remotes are artefacts that stand in for remote bases, by the URL that the
	// kustomization names (with or without what follows // and ?). The operator
	// must allow remote bases.
	Remotes map[string]Source `yaml:"remotes,omitempty" json:"remotes,omitempty"`
}

// JsonnetSpec says how a program is evaluated.
type JsonnetSpec struct {
	// File is the program, relative to the path; the default is main.jsonnet.
	File string `yaml:"file,omitempty" json:"file,omitempty"`
	// Libraries are directories that imports are looked up in, relative to the
	// path, beside the importing file's own; the default is lib and vendor.
	Libraries []string `yaml:"libraries,omitempty" json:"libraries,omitempty"`
	// ExtVars are values for std.extVar.
	ExtVars map[string]any `yaml:"extVars,omitempty" json:"extVars,omitempty"`
	// TLAs are arguments of the program's top-level function.
	TLAs map[string]any `yaml:"tlas,omitempty" json:"tlas,omitempty"`
	// ExtVarsFrom and TLAsFrom take values that the target declares, by name.
	ExtVarsFrom map[string]string `yaml:"extVarsFrom,omitempty" json:"extVarsFrom,omitempty"`
	TLAsFrom    map[string]string `yaml:"tlasFrom,omitempty" json:"tlasFrom,omitempty"`
}

// The modes of Helm.
const (
	Manifests = "manifests"
	Release   = "release"
)

// Validate checks the values.
func (s *Spec) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	formats := []Format{"", Auto, Plain, Kustomize, Helm, Jsonnet}
	if !slices.Contains(formats, s.Render) {
		d.Errorf(plan.Source{}, "render", "write auto, plain, kustomize, helm or jsonnet", "%q is unknown", s.Render)
	}
	if s.Namespace != "" && len(validation.IsDNS1123Label(s.Namespace)) > 0 {
		d.Errorf(plan.Source{}, "namespace", "write lower-case letters, digits and dashes", "%q is no name of a namespace", s.Namespace)
	}
	for _, part := range []struct {
		of      Format
		present bool
	}{{Helm, s.Helm != nil}, {Kustomize, s.Kustomize != nil}, {Jsonnet, s.Jsonnet != nil}} {
		if part.present && !slices.Contains([]Format{"", Auto, part.of}, s.Render) {
			d.Errorf(plan.Source{}, string(part.of), "remove it, or write render: "+string(part.of), "it means nothing with render: %s", s.Render)
		}
	}
	if s.Helm != nil && s.Jsonnet != nil {
		d.Errorf(plan.Source{}, "jsonnet", "make two targets", "helm and jsonnet exclude each other")
	}
	checkGlobs(&d, "include", s.Include)
	checkGlobs(&d, "exclude", s.Exclude)
	checkGlobs(&d, "templates", s.Templates)
	if s.Source != nil {
		s.Source.check(&d, "source")
		if s.Source.Path != "" {
			checkPath(&d, "source.path", s.Source.Path)
		}
	}
	s.Helm.check(&d)
	s.Kustomize.check(&d)
	s.Jsonnet.check(&d)
	return d
}

func checkGlobs(d *plan.Diagnostics, field string, globs []string) {
	for i, g := range globs {
		if g == "" || !doublestar.ValidatePattern(g) {
			d.Errorf(plan.Source{}, fmt.Sprintf("%s[%d]", field, i), `write names, * and **, as in "base/**/*.yaml"`, "%q is no pattern", g)
		}
	}
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (s *Source) check(d *plan.Diagnostics, field string) {
	if s == nil {
		return
	}
	chartRepo := strings.HasPrefix(s.URL, "https://") || strings.HasPrefix(s.URL, "http://")
	switch {
	case s.URL == "":
		d.Errorf(plan.Source{}, field+".url", "name it, as in oci://reg.example.com/acme/shop", "is missing")
	case !chartRepo && !strings.HasPrefix(s.URL, "oci://"):
		d.Errorf(plan.Source{}, field+".url", "write oci://HOST/REPOSITORY, or https:// of a chart repository", "%q is neither", s.URL)
	case strings.Contains(s.URL, "@"):
		d.Errorf(plan.Source{}, field+".url", "write the digest under digest, and credentials in the environment's connect.sources", "the URL holds an @")
	case chartRepo && (s.Name == "" || s.Version == ""):
		d.Errorf(plan.Source{}, field, "add name: and version:", "a chart repository needs the chart's name and version")
	}
	if !digestForm.MatchString(s.Digest) {
		d.Errorf(plan.Source{}, field+".digest", "write sha256: and 64 hexadecimal digits; a tag alone can be moved", "%q is no digest", s.Digest)
	}
}

func (h *HelmSpec) check(d *plan.Diagnostics) {
	if h == nil {
		return
	}
	if h.Chart != "" && h.Source != nil {
		d.Errorf(plan.Source{}, "helm.chart", "keep one of the two", "helm.chart and helm.source exclude each other")
	}
	h.Source.check(d, "helm.source")
	if !slices.Contains([]string{"", Manifests, Release}, h.Mode) {
		d.Errorf(plan.Source{}, "helm.mode", "write manifests or release", "%q is unknown", h.Mode)
	}
	if h.ReleaseName != "" && (len(validation.IsDNS1123Subdomain(h.ReleaseName)) > 0 || len(h.ReleaseName) > 53) {
		d.Errorf(plan.Source{}, "helm.releaseName", "write at most 53 lower-case letters, digits, dashes and dots", "%q is no name of a release", h.ReleaseName)
	}
	if _, err := parseVersion(h.KubeVersion); h.KubeVersion != "" && err != nil {
		d.Errorf(plan.Source{}, "helm.kubeVersion", "write it as in 1.37.2", "%q is no version", h.KubeVersion)
	}
	if h.Mode == Release && (h.SkipCRDs || h.SkipTests) {
		d.Errorf(plan.Source{}, "helm", "set helm.release.crds: skip; tests run only with helm.release.test: true", "skipCRDs and skipTests are of mode manifests")
	}
	h.Release.check(d, h.Mode)
	checkPaths(d, "helm.valuesFiles", h.ValuesFiles)
	if h.Chart != "" {
		checkPath(d, "helm.chart", h.Chart)
	}
	for _, key := range sortedKeys(h.ValuesFrom) {
		if key == "" || slices.Contains(strings.Split(key, "."), "") {
			d.Errorf(plan.Source{}, "helm.valuesFrom", "write names with dots between them, as in ingress.ip", "%q is no path of a value", key)
		}
	}
}

func (k *KustomizeSpec) check(d *plan.Diagnostics) {
	if k == nil {
		return
	}
	for _, url := range sortedKeys(k.Remotes) {
		s := k.Remotes[url]
		s.check(d, fmt.Sprintf("kustomize.remotes[%q]", url))
	}
}

func (j *JsonnetSpec) check(d *plan.Diagnostics) {
	if j == nil {
		return
	}
	if j.File != "" {
		checkPath(d, "jsonnet.file", j.File)
	}
	checkPaths(d, "jsonnet.libraries", j.Libraries)
	for _, pair := range []struct {
		field string
		plain map[string]any
		from  map[string]string
	}{{"jsonnet.extVarsFrom", j.ExtVars, j.ExtVarsFrom}, {"jsonnet.tlasFrom", j.TLAs, j.TLAsFrom}} {
		for _, k := range sortedKeys(pair.from) {
			if _, both := pair.plain[k]; both {
				d.Errorf(plan.Source{}, pair.field+"."+k, "keep one of the two", "it is given as a plain value as well")
			}
		}
	}
}

func checkPaths(d *plan.Diagnostics, field string, names []string) {
	for i, n := range names {
		checkPath(d, fmt.Sprintf("%s[%d]", field, i), n)
	}
}

// checkPath checks a path that is relative to the target's; it may go up, as
// far as the target's inputs allow.
func checkPath(d *plan.Diagnostics, field, name string) {
	if name == "" || path.IsAbs(name) || strings.Contains(name, `\`) {
		d.Errorf(plan.Source{}, field, "write a path relative to the target's", "%q is none", name)
	}
}

// parseVersion reads a version of Kubernetes.
func parseVersion(s string) (*version.Version, error) { return version.ParseGeneric(s) }
