// Package render makes Kubernetes objects of the files in a snapshot: plain
// YAML and JSON, Kustomize, Helm charts and Jsonnet. It needs no cluster, runs
// no code of the repository beyond those templates, and reads nothing but the
// snapshot and what is pinned by digest.
package render

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

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
}

// Capabilities are what Helm's templates may ask of the cluster.
type Capabilities struct {
	KubeVersion string   // "v1.37.2"; "" is DefaultKubeVersion
	APIVersions []string // "apps/v1", "apps/v1/Deployment"; nil is the built-in ones
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
}

// Render makes the objects. Mistakes in the files are diagnostics; the error
// is for what keeps it from reading at all.
func Render(ctx context.Context, in Input) (*Result, error) {
	r := newRun(ctx, in)
	if in.Tree == nil {
		return nil, fmt.Errorf("there is no snapshot")
	}
	format, err := r.format()
	if err != nil {
		return r.result(), r.failure(err)
	}
	switch format {
	case Plain:
		err = r.plain()
	default:
		r.out.Diagnostics.Errorf(plan.Source{File: in.Path}, "spec.render", "", "%s is not built in", format)
	}
	if err != nil {
		return r.result(), r.failure(err)
	}
	r.finish()
	return r.result(), ctx.Err()
}

// run is one rendering.
type run struct {
	ctx   context.Context
	in    Input
	files *files
	out   Result
	// values are the names of values used; incomplete are reasons, each once.
	values, incomplete map[string]bool
}

func newRun(ctx context.Context, in Input) *run {
	return &run{ctx: ctx, in: in, files: newFiles(ctx, in), values: map[string]bool{}, incomplete: map[string]bool{}}
}

// failure makes a diagnostic of an error that lies in the repository, and
// gives back any other.
func (r *run) failure(err error) error {
	if d, ok := inRepository(r.in.Path, err); ok {
		r.out.Diagnostics = append(r.out.Diagnostics, d)
		return nil
	}
	return err
}

func (r *run) result() *Result {
	r.out.Values = sortedKeys(r.values)
	r.out.Incomplete = sortedKeys(r.incomplete)
	return &r.out
}

// finish checks what only all objects together show.
func (r *run) finish() {
	if len(r.out.Objects) == 0 && len(r.incomplete) == 0 && r.out.Diagnostics.Err() == nil {
		r.out.Diagnostics.Errorf(plan.Source{File: r.in.Path}, "path", "files that ask for nothing never remove anything; destroy the target if that is meant", "%s holds no objects", r.in.Path)
	}
	if len(r.out.Objects) > maxObjects {
		r.out.Diagnostics.Errorf(plan.Source{File: r.in.Path}, "path", "split the target", "there are %d objects; a target may have %d at most", len(r.out.Objects), maxObjects)
	}
	r.duplicates()
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
func (r *run) note(format string, args ...any) { r.incomplete[fmt.Sprintf(format, args...)] = true }
