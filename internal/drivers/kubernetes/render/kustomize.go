package render

import (
	"fmt"
	"net/http"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	k8syaml "sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// originMark is the annotation by which Kustomize says where a resource comes
// from.
const originMark = "config.kubernetes.io/origin"

// kustomize builds a kustomization. First everything that it names is looked
// at, because Kustomize itself stops at the first mistake and seldom says
// where it is.
func (r *run) kustomize() error {
	dir := r.in.Path
	if isDir, _, err := r.files.exists(dir); err != nil {
		return err
	} else if !isDir {
		dir = path.Dir(dir)
	}
	k := newKustomization(r, dir)
	if err := k.look(dir, 0); err != nil {
		return err
	}
	if k.found.Err() != nil || k.missing {
		r.out.Diagnostics = append(r.out.Diagnostics, k.found...)
		return nil
	}
	m, err := k.build()
	r.out.Diagnostics = append(r.out.Diagnostics, k.found...)
	if err != nil {
		return k.failed(err)
	}
	return k.objects(m)
}

// build runs Kustomize. Plug-ins, functions and Helm are off; whatever is read
// comes from the snapshot.
func (k *kustomization) build() (m resmap.ResMap, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("kustomize failed: %v", p)
		}
	}()
	was := http.DefaultTransport
	http.DefaultTransport = noNetwork{}
	defer func() { http.DefaultTransport = was }()
	o := krusty.MakeDefaultOptions()
	o.LoadRestrictions = types.LoadRestrictionsNone // the snapshot is confined
	return krusty.MakeKustomizer(o).Run(snapshotFS{k}, "/"+k.root)
}

type noNetwork struct{}

// RoundTrip refuses.
func (noNetwork) RoundTrip(q *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("%s is not fetched: rendering asks no network", q.URL.Redacted())
}

// failed makes a mistake of Kustomize's error, with the place that it names.
func (k *kustomization) failed(err error) error {
	if k.err != nil {
		return k.err
	}
	d := plan.Diagnostic{Severity: plan.Error, Source: plan.Source{File: k.file(k.root)}, Message: kustomizeText(err.Error())}
	if at, ok := k.mentioned(err.Error()); ok {
		d.Source = at
	}
	switch {
	case strings.Contains(d.Message, "unable to find plugin root"), strings.Contains(d.Message, "external plugins disabled"), strings.Contains(d.Message, "plugins disabled"):
		d.Mend = "plug-ins and functions are off: they would run code of the repository"
		d.Source = k.plugin(d.Source)
	}
	k.out.Diagnostics = append(k.out.Diagnostics, d)
	return nil
}

// plugin finds the place that asks for a plug-in.
func (k *kustomization) plugin(at plan.Source) plan.Source {
	for _, dir := range sortedKeys(k.read) {
		for _, field := range []string{"generators", "transformers", "validators"} {
			if _, there := asMap(k.read[dir].Value)[field]; there {
				return k.read[dir].Place(field)
			}
		}
	}
	return at
}

// kustomizeText drops the frames of an error: each says again what follows.
func kustomizeText(text string) string {
	if i := strings.LastIndex(text, "': "); strings.HasPrefix(text, "accumulating") && i > 0 {
		if j := strings.LastIndex(text[:i], "err='"); j >= 0 && !strings.Contains(text[j:], "must build at directory") {
			text = text[j+len("err='") : i]
		}
	}
	return strings.TrimSpace(strings.ReplaceAll(text, "'/", "'"))
}

// mentioned finds the place that an error speaks of: a field or file that a
// kustomization names.
func (k *kustomization) mentioned(text string) (plan.Source, bool) {
	best := plan.Source{}
	for _, ref := range k.refs {
		if ref.path != "." && strings.Contains(text, "/"+ref.path) {
			best = ref.at
		}
	}
	if best.File != "" {
		return best, true
	}
	for _, dir := range sortedKeys(k.read) {
		doc := k.read[dir]
		for field := range asMap(doc.Value) {
			if strings.Contains(text, fmt.Sprintf("%q", field)) {
				return doc.Place(field), true
			}
		}
	}
	return best, false
}

// origin is what Kustomize says of where a resource comes from.
type origin struct {
	Path         string `json:"path"`
	ConfiguredIn string `json:"configuredIn"`
	ConfiguredBy struct {
		Kind string `json:"kind"`
	} `json:"configuredBy"`
}

// objects takes over what was built.
func (k *kustomization) objects(m resmap.ResMap) error {
	for _, res := range m.Resources() {
		b, err := res.MarshalJSON()
		if err != nil {
			return err
		}
		u := &unstructured.Unstructured{}
		if err := decodeJSON(b, &u.Object); err != nil {
			return err
		}
		numbers(u.Object)
		at := k.source(u)
		o := manifest.Object{Unstructured: u, Source: at}
		if manifest.Check(&o, func(...any) plan.Source { return at }, &k.out.Diagnostics) {
			k.out.Objects = append(k.out.Objects, o)
		}
	}
	return nil
}

// source takes the origin off an object and finds the line.
func (k *kustomization) source(u *unstructured.Unstructured) plan.Source {
	notes := u.GetAnnotations()
	var from origin
	if err := k8syaml.Unmarshal([]byte(notes[originMark]), &from); err != nil {
		return plan.Source{File: k.file(k.root)}
	}
	if !k.keepOrigin {
		delete(notes, originMark)
		if len(notes) == 0 {
			notes = nil
		}
		u.SetAnnotations(notes)
	}
	switch {
	case from.Path != "":
		return k.line(k.shown(path.Join(k.root, from.Path)), u)
	case from.ConfiguredIn != "":
		return k.generated(path.Join(k.root, from.ConfiguredIn), from.ConfiguredBy.Kind, u.GetName())
	}
	return plan.Source{File: k.file(k.root)}
}

// line finds the document of a file that became an object: one of its kind,
// with a name that the object's name holds, or the next one.
func (k *kustomization) line(file string, u *unstructured.Unstructured) plan.Source {
	docs, ok := k.docs[file]
	if !ok {
		return plan.Source{File: file}
	}
	var same []manifest.Document
	for _, d := range docs {
		if m := asMap(d.Value); m["kind"] == u.GetKind() {
			same = append(same, d)
		}
	}
	if len(same) == 0 {
		return plan.Source{File: file, Line: 1}
	}
	key := file + " " + u.GetKind()
	nth := k.placed[key]
	k.placed[key]++
	best, length := same[nth%len(same)], 0
	for _, d := range same {
		name, _ := asMap(asMap(d.Value)["metadata"])["name"].(string)
		if len(name) > length && strings.Contains(u.GetName(), name) {
			best, length = d, len(name)
		}
	}
	return best.Place()
}

// generated finds the generator that made an object.
func (k *kustomization) generated(file, kind, name string) plan.Source {
	at := plan.Source{File: file}
	doc, ok := k.read[path.Dir(file)]
	if !ok {
		return at
	}
	field := map[string]string{"ConfigMapGenerator": "configMapGenerator", "SecretGenerator": "secretGenerator"}[kind]
	list, _ := asMap(doc.Value)[field].([]any)
	at = doc.Place(field)
	length := 0
	for i, g := range list {
		n, _ := asMap(g)["name"].(string)
		if len(n) > length && strings.Contains(name, n) {
			at, length = doc.Place(field, i, "name"), len(n)
		}
	}
	return at
}
