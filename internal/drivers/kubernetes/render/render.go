// Package render makes Kubernetes objects of the files in a snapshot: plain
// YAML and JSON, Kustomize, Helm charts and Jsonnet. It needs no cluster, runs
// no code of the repository beyond those templates, and reads nothing but the
// snapshot and what is pinned by digest.
package render

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// Version is part of what a rendering is remembered by: raise it when the
// same inputs would give other objects.
const Version = "1"

// Input is all that a rendering depends on.
type Input struct {
	// Tree is the snapshot, confined to what the target may read; paths start
	// at the root of the repository.
	Tree fs.FS
	// Path is the target's path, a file or a directory.
	Path string
	Spec Spec
	// Values are declared values by name. Nil means that nobody gave any yet:
	// each is then known later.
	Values map[string]plan.Output
	// Decrypt opens a file that SOPS encrypted. Without it such files keep
	// their structure, and Result.Incomplete says so.
	Decrypt func(ctx context.Context, name string, data []byte) ([]byte, error)
	// Fetch gives an artefact as tar.gz and has checked its digest. Without it
	// Result.Incomplete says what is missing.
	Fetch func(ctx context.Context, s Source) ([]byte, error)
	// Capabilities are what Helm's templates may ask of the cluster.
	Capabilities Capabilities
	// RemoteBases tells that the operator allows bases outside of Git.
	RemoteBases bool
	// Cache gives renderings of the same content again, where the tree is a
	// driver.Identifier; nil renders each time.
	Cache *Cache
	// Release is what a chart sees that is installed as a release; nil where no
	// cluster tells.
	Release *Seen
}

// Capabilities are what Helm's templates may ask of the cluster.
type Capabilities struct {
	KubeVersion string   // "v1.37.2"; "" is DefaultKubeVersion
	APIVersions []string // "apps/v1", "apps/v1/Deployment"; nil is the built-in ones
	// Silent are versions whose kinds nobody can tell now: the server behind
	// them does not answer. What a chart makes of them is not decided.
	Silent []string
}

// Result is what came of it.
type Result struct {
	// Objects are all that are asked for, hooks and tests of charts included,
	// in a stable order.
	Objects []manifest.Object
	// Values are the names of the declared values that are used, sorted.
	Values []string
	// Incomplete says why this is not the whole truth: what could not be
	// decrypted or fetched, which names are known only later.
	Incomplete []string
	// Diagnostics are all mistakes, with file and line.
	Diagnostics plan.Diagnostics
	// Release is the chart as a release, in that mode.
	Release *Releasable
}

// Render makes the objects. Mistakes in the files are diagnostics; the error
// is for what keeps it from reading at all.
func Render(ctx context.Context, in Input) (*Result, error) {
	if in.Tree == nil {
		return nil, fmt.Errorf("there is no snapshot")
	}
	if ids, ok := in.Tree.(driver.Identifier); ok && in.Cache != nil && in.Release == nil {
		return in.Cache.render(ctx, in, ids)
	}
	if in.Spec.Source != nil {
		return renderArtefact(ctx, in)
	}
	r := newRun(ctx, in)
	format, err := r.format()
	if err != nil {
		return r.result(), r.failure(err)
	}
	err = errElsewhere
	if format == Plain && len(in.Spec.Templates) == 0 {
		r.files.here = maxHere
		err = r.evaluate(format)
	}
	if errors.Is(err, errElsewhere) {
		r = newRun(ctx, in)
		err = r.failure(r.sandboxed(format))
	}
	if err != nil {
		return r.result(), err
	}
	return r.result(), ctx.Err()
}

// renderArtefact renders the files of an artefact in the place of the
// snapshot's. They are called by its URL.
func renderArtefact(ctx context.Context, in Input) (*Result, error) {
	r, from := newRun(ctx, in), *in.Spec.Source
	body, err := r.fetch(from.Source)
	if err != nil || body == nil {
		return r.result(), err
	}
	files := memory{}
	if err := untar(from.URL, body, func(name string, data []byte) error { files[name] = data; return nil }); err != nil {
		return r.result(), r.failure(err)
	}
	in.Tree, in.Path, in.Spec.Source = files, path.Clean(from.Path), nil
	res, err := Render(ctx, in)
	if err != nil {
		return res, err
	}
	for i := range res.Objects {
		res.Objects[i].Source.File = from.URL + "//" + res.Objects[i].Source.File
	}
	for i := range res.Diagnostics {
		res.Diagnostics[i].File = from.URL + "//" + res.Diagnostics[i].File
	}
	return res, nil
}

// run is one rendering.
type run struct {
	ctx    context.Context
	in     Input
	files  *files
	out    Result
	values map[string]bool // names of values used
}

func newRun(ctx context.Context, in Input) *run {
	return &run{ctx: ctx, in: in, files: newFiles(ctx, in), values: map[string]bool{}}
}

// failure makes a diagnostic of an error that lies in the repository, and
// gives back any other.
func (r *run) failure(err error) error {
	var many *manyBad
	if errors.As(err, &many) {
		r.out.Diagnostics = append(r.out.Diagnostics, many.d...)
		return nil
	}
	if err == nil {
		return nil
	}
	if d, ok := inRepository(r.in.Path, err); ok {
		r.out.Diagnostics = append(r.out.Diagnostics, d)
		return nil
	}
	return err
}

func (r *run) result() *Result {
	r.scrub()
	r.out.Values = sortedKeys(r.values)
	r.out.Incomplete = sortedKeys(r.files.notes)
	return &r.out
}

// finish checks what only all objects together show.
func (r *run) finish() {
	if len(r.out.Objects) == 0 && len(r.files.notes) == 0 && r.out.Diagnostics.Err() == nil {
		r.out.Diagnostics.Errorf(plan.Source{File: r.in.Path}, "path", "files that ask for nothing never remove anything; destroy the target if that is meant", "%s holds no objects", r.in.Path)
	}
	if len(r.out.Objects) > maxObjects {
		r.out.Diagnostics.Errorf(plan.Source{File: r.in.Path}, "path", "split the target", "there are %d objects; a target may have %d at most", len(r.out.Objects), maxObjects)
	}
	r.duplicates()
	r.mark()
	slices.SortStableFunc(r.out.Diagnostics, func(a, b plan.Diagnostic) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
}

// duplicates finds objects that are asked for twice. Hooks of charts may well
// share a name: they come and go.
func (r *run) duplicates() {
	first := map[manifest.Ref]plan.Source{}
	for i := range r.out.Objects {
		o := &r.out.Objects[i]
		if isHook(o) {
			continue
		}
		ref := o.Ref()
		if ref.Namespace == "" {
			ref.Namespace = r.in.Spec.Namespace
		}
		if at, twice := first[ref]; twice {
			r.out.Diagnostics.Errorf(o.Source, "", "remove one of the two", "%s is asked for twice; first in %s", o.Ref(), at)
			continue
		}
		first[ref] = o.Source
	}
}

func isHook(o *manifest.Object) bool {
	a := o.GetAnnotations()
	return a["helm.sh/hook"] != "" || a["argocd.argoproj.io/hook"] != ""
}

// note remembers why the rendering is not the whole truth.
func (r *run) note(format string, args ...any) { r.files.note(format, args...) }
