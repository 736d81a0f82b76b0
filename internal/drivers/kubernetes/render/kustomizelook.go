package render

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	k8syaml "sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// Limits of a kustomization.
const (
	maxOverlays = 1000
	maxOverlap  = 50 // directories that lead to each other
)

// kustomization is one build on its way.
type kustomization struct {
	*run
	root    string
	read    map[string]manifest.Document // kustomizations by their directory
	open    map[string]bool              // directories whose bases are being read
	texts   map[string][]byte            // what Kustomize is given for a file
	docs    map[string][]manifest.Document
	refs    []reference
	found   plan.Diagnostics
	missing bool // something is to be fetched and is not here
	remote  map[string]memory
	placed  map[string]int
	err     error // of the snapshot, no mistake in it

	keepOrigin bool
}

// reference is a path that a kustomization names.
type reference struct {
	path string
	at   plan.Source
}

func newKustomization(r *run, root string) *kustomization {
	return &kustomization{run: r, root: root, read: map[string]manifest.Document{}, texts: map[string][]byte{}, open: map[string]bool{},
		docs: map[string][]manifest.Document{}, remote: map[string]memory{}, placed: map[string]int{}}
}

// file gives the name of a directory's kustomization.
func (k *kustomization) file(dir string) string {
	if d, ok := k.read[dir]; ok {
		return d.File
	}
	return path.Join(dir, kustomizationFiles[0])
}

// lists are the fields that name files and directories; those of dirs lead to
// kustomizations and resources.
var (
	dirFields  = []string{"resources", "bases", "components"}
	fileFields = []string{"crds", "configurations", "generators", "transformers", "validators", "patchesStrategicMerge"}
)

// look reads the kustomization of a directory and all that it names.
func (k *kustomization) look(dir string, depth int) error {
	if _, seen := k.read[dir]; seen {
		return nil
	}
	if depth > maxOverlap || len(k.read) > maxOverlays {
		return tooMuch(fmt.Sprintf("%s: more than %d kustomizations lead to each other, or there are more than %d", dir, maxOverlap, maxOverlays))
	}
	name, body, err := k.kustomizationOf(dir)
	if err != nil {
		return err
	}
	if name == "" {
		k.found.Errorf(plan.Source{File: dir}, "", "list its files instead, or write a kustomization.yaml there", "the directory has no kustomization")
		return nil
	}
	docs, found := manifest.Documents(structuredYAML(name), body)
	for i := range found {
		found[i].File = name
	}
	k.found = append(k.found, found...)
	if found.Err() != nil {
		return nil
	}
	if len(docs) != 1 || asMap(docs[0].Value) == nil {
		k.found.Errorf(plan.Source{File: name, Line: 1}, "", "write resources: and what else a kustomization has", "a kustomization is one document with fields; this file has %d", len(docs))
		return nil
	}
	doc := docs[0]
	doc.File = name
	k.read[dir], k.open[dir] = doc, true
	defer delete(k.open, dir)
	return k.names(dir, doc, body, depth)
}

func structuredYAML(name string) string {
	if path.Ext(name) == "" {
		return name + ".yaml"
	}
	return name
}

func (k *kustomization) kustomizationOf(dir string) (string, []byte, error) {
	for _, n := range kustomizationFiles {
		name := path.Join(dir, n)
		body, err := k.content(name)
		switch {
		case err == nil:
			return name, body, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", nil, err
		}
	}
	return "", nil, nil
}

// names goes through all that a kustomization names.
func (k *kustomization) names(dir string, doc manifest.Document, body []byte, depth int) error {
	fields := asMap(doc.Value)
	for _, f := range []string{"helmCharts", "helmChartInflationGenerator"} {
		if _, there := fields[f]; there {
			k.found.Errorf(doc.Place(f), f, "make a target with render: helm of it", "charts within a kustomization are not rendered")
		}
	}
	for _, field := range dirFields {
		list, _ := fields[field].([]any)
		for i, x := range list {
			s, ok := x.(string)
			if !ok {
				continue
			}
			to, err := k.local(dir, s, doc.Place(field, i))
			if err != nil {
				return err
			}
			if to == "" || strings.Contains(s, "\n") {
				continue
			}
			if to != s {
				list[i] = to
			}
			if err := k.follow(path.Join(dir, to), doc.Place(field, i), depth); err != nil {
				return err
			}
		}
	}
	if err := k.paths(dir, doc); err != nil {
		return err
	}
	return k.rewrite(dir, doc, body)
}

// paths checks the paths of files in the other fields.
func (k *kustomization) paths(dir string, doc manifest.Document) error {
	var failed error
	check := func(x any, at plan.Source) {
		s, ok := x.(string)
		if !ok || strings.Contains(s, "\n") {
			return
		}
		if err := k.named(dir, s, at); err != nil && failed == nil {
			failed = err
		}
	}
	fields := asMap(doc.Value)
	for _, f := range fileFields {
		list, _ := fields[f].([]any)
		for i, x := range list {
			check(x, doc.Place(f, i))
		}
	}
	for _, f := range []string{"patches", "patchesJson6902", "replacements"} {
		list, _ := fields[f].([]any)
		for i, x := range list {
			check(asMap(x)["path"], doc.Place(f, i, "path"))
		}
	}
	for _, f := range []string{"configMapGenerator", "secretGenerator"} {
		list, _ := fields[f].([]any)
		for i, x := range list {
			for _, inner := range []string{"files", "envs"} {
				files, _ := asMap(x)[inner].([]any)
				for j, y := range files {
					check(y, doc.Place(f, i, inner, j))
				}
			}
			check(asMap(x)["env"], doc.Place(f, i, "env"))
		}
	}
	check(asMap(fields["openapi"])["path"], doc.Place("openapi", "path"))
	return failed
}

// named checks that a file is there.
func (k *kustomization) named(dir, s string, at plan.Source) error {
	if _, after, ok := strings.Cut(s, "="); ok && !remoteForm.MatchString(s) {
		s = after
	}
	if remoteForm.MatchString(s) {
		k.found.Errorf(at, "", "copy the file into the repository", "%s lies outside of the repository", manifest.Short(s))
		return nil
	}
	name := path.Join(dir, s)
	k.refs = append(k.refs, reference{name, at})
	_, err := k.isDir(name)
	return k.absent(name, at, err)
}

// absent reports a path that can't be read, at the place that names it.
func (k *kustomization) absent(name string, at plan.Source, err error) error {
	if err == nil {
		return nil
	}
	d, ok := inRepository(name, err)
	if !ok {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		d.Mend = ""
	}
	d.Source = at
	k.found = append(k.found, d)
	return nil
}

// follow reads what a kustomization builds on: another one, or a file of
// resources.
func (k *kustomization) follow(to string, at plan.Source, depth int) error {
	k.refs = append(k.refs, reference{to, at})
	dir, err := k.isDir(to)
	if err == nil && dir {
		if k.open[to] {
			k.found.Errorf(at, "", "", "%s builds on itself by way of this", to)
			return nil
		}
		return k.look(to, depth+1)
	}
	if err == nil {
		if _, seen := k.docs[to]; seen {
			return nil
		}
		var body []byte
		if body, err = k.content(to); err == nil {
			docs, found := manifest.Documents(k.shown(to), body)
			k.docs[k.shown(to)] = docs
			k.found = append(k.found, found...)
			return nil
		}
	}
	return k.absent(to, at, err)
}

// rewrite prepares the text that Kustomize gets: remote bases lead to what was
// fetched, and the first kustomization asks for the origin of resources.
func (k *kustomization) rewrite(dir string, doc manifest.Document, body []byte) error {
	fields := asMap(doc.Value)
	changed := false
	for _, f := range dirFields {
		list, _ := fields[f].([]any)
		for _, x := range list {
			if s, ok := x.(string); ok && strings.Contains(s, remoteDir+"/") {
				changed = true
			}
		}
	}
	if dir == k.root {
		options, there := fields["buildMetadata"].([]any)
		for _, o := range options {
			k.keepOrigin = k.keepOrigin || o == "originAnnotations"
		}
		text := bytes.TrimSpace(body)
		if !there && !changed && len(text) > 0 && text[0] != '{' && text[0] != '-' {
			k.texts[doc.File] = append(bytes.TrimRight(bytes.Clone(body), "\n"), "\nbuildMetadata: [originAnnotations]\n"...)
			return nil
		}
		if !k.keepOrigin {
			fields["buildMetadata"] = append(options, "originAnnotations")
			changed = true
		}
	}
	if !changed {
		return nil
	}
	out, err := k8syaml.Marshal(doc.Value)
	k.texts[doc.File] = out
	return err
}

// remoteDir is where fetched bases lie for Kustomize.
const remoteDir = ".trueup-remote"

var remoteForm = regexp.MustCompile(`(?i)^(\w+(\+\w+)?://|git::|gh:|(www\.)?github\.com[/:]|[\w.-]+@[\w.-]+[:/])`)

// local gives the path of a base: as it is, or of what was fetched for a URL;
// "" where that is not possible.
func (k *kustomization) local(dir, s string, at plan.Source) (string, error) {
	if !remoteForm.MatchString(s) {
		return s, nil
	}
	if !k.in.RemoteBases {
		k.found.Errorf(at, "", "copy it into the repository, or have the operator set connect.remoteBases", "%s lies outside of the repository, and remote bases are not allowed", manifest.Short(s))
		return "", nil
	}
	key, below, ok := k.remoteOf(s)
	if !ok {
		k.found.Errorf(at, "", "add it under spec.kustomize.remotes with the url and digest of an artefact that holds it", "%s is not pinned", manifest.Short(s))
		return "", nil
	}
	mount := path.Join(remoteDir, fmt.Sprint(indexOf(sortedKeys(k.in.Spec.Kustomize.Remotes), key)))
	if _, there := k.remote[mount]; !there {
		body, err := k.fetch(k.in.Spec.Kustomize.Remotes[key])
		if err != nil {
			return "", err
		}
		if body == nil {
			k.missing = true
			return "", nil
		}
		m := memory{}
		if err := untar(key, body, func(name string, data []byte) error { m[name] = data; return nil }); err != nil {
			return "", err
		}
		k.remote[mount] = m
	}
	up := strings.Repeat("../", strings.Count(dir, "/")+1)
	if dir == "." {
		up = ""
	}
	return path.Join(up, mount, below), nil
}

// remoteOf finds the artefact for a URL: by the whole of it, without what
// follows ?, or by the repository before //, of which it is then a directory.
func (k *kustomization) remoteOf(url string) (key, below string, ok bool) {
	if k.in.Spec.Kustomize == nil {
		return "", "", false
	}
	known := k.in.Spec.Kustomize.Remotes
	plain, _, _ := strings.Cut(url, "?")
	for _, u := range []string{url, plain} {
		if _, ok := known[u]; ok {
			return u, "", true
		}
	}
	scheme, rest, _ := strings.Cut(plain, "://")
	if rest == "" {
		scheme, rest = "", plain
	} else {
		scheme += "://"
	}
	repo, below, found := strings.Cut(rest, "//")
	_, ok = known[scheme+repo]
	return scheme + repo, below, found && ok
}

func indexOf(list []string, s string) int {
	for i, x := range list {
		if x == s {
			return i
		}
	}
	return -1
}
