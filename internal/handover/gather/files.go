// Package gather reads the objects of other tools: from files, and from live
// clusters. Nothing is ever written to a cluster.
package gather

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
	"trueup.dev/trueup/internal/plan"
)

// What is read of files at most.
const (
	maxFiles = 20_000
	maxFile  = 8 << 20
)

// What says which objects count.
type What struct {
	// Kinds are read from a cluster, by group.
	Kinds map[string][]string
	// Selectors narrow the kinds that are named in them: kind -> labels.
	Selectors map[string]string
	// Also names further objects of a cluster that those are about.
	Also func(*handover.Set) []manifest.Ref
	// Marks are texts of which a file has one if it matters: only then a
	// mistake in it does.
	Marks []string
	// Keep decides about an object that was read, and may take things out of
	// it. It is asked first of all, so that what it takes out is never kept.
	Keep func(*handover.Object) bool
}

// Files reads the objects of files, and of all YAML and JSON files below
// directories. Mistakes are told with their lines; in directories only those
// of files that matter.
func (w What) Files(paths []string) (*handover.Set, plan.Diagnostics, error) {
	r := &reader{What: w}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, nil, err
		}
		if info.IsDir() {
			err = r.dir(p)
		} else {
			err = r.file(p, true)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return handover.NewSet(r.all), r.diags, nil
}

type reader struct {
	What
	all   []*handover.Object
	diags plan.Diagnostics
	count int
}

func (r *reader) dir(root string) error {
	return filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && p != root && (strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules"):
			return fs.SkipDir
		case !e.Type().IsRegular():
			return nil
		}
		switch path.Ext(p) {
		case ".yaml", ".yml", ".json":
			return r.file(p, false)
		}
		return nil
	})
}

// file reads one file. One that was named must be right; of others only those
// that matter.
func (r *reader) file(name string, named bool) error {
	if r.count++; r.count > maxFiles {
		return fmt.Errorf("there are more than %d files", maxFiles)
	}
	body, err := read(name)
	if err != nil {
		return err
	}
	matters := named
	for _, m := range r.Marks {
		matters = matters || bytes.Contains(body, []byte(m))
	}
	objects, diags := manifest.Parse(filepath.ToSlash(name), body)
	if matters {
		r.diags = append(r.diags, diags...)
	}
	for _, o := range objects {
		h := handover.NewObject(o.Unstructured, o.Source)
		// A file may say what it likes; only a cluster says what is live.
		h.SetUID("")
		if r.Keep == nil || r.Keep(h) {
			r.all = append(r.all, h)
		}
	}
	return nil
}

func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	body, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(body) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", name, maxFile)
	}
	return body, err
}
