package handover

import (
	"io/fs"
	"path"
	"strings"
)

// Options say what to make of the objects.
type Options struct {
	// Environment is the name of the cluster that the objects were written for.
	Environment string
	// Dir is the directory of a repository that gets what has no place there:
	// values, overlays.
	Dir string
	// Home is the URL of the repository for targets that belong to none.
	Home string
	// Manifests renders Helm releases and applies their objects, instead of
	// keeping them releases of Helm.
	Manifests bool
	// Trees are checkouts of repositories, by SameRepository of their URLs.
	Trees map[string]fs.FS
}

// Tree gives the checkout of a repository, or nil.
func (o *Options) Tree(url string) fs.FS { return o.Trees[SameRepository(url)] }

// kustomizations are the names of the file that Kustomize looks for.
var kustomizations = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// Kustomized tells whether a directory of a checkout has a kustomization.
func Kustomized(tree fs.FS, dir string) bool {
	for _, n := range kustomizations {
		if _, err := fs.Stat(tree, path.Join(dir, n)); err == nil {
			return true
		}
	}
	return false
}

// maxListed bounds how many files a generated kustomization lists.
const maxListed = 5000

// Plain lists what a kustomization of a directory without one has to list:
// the manifests below it, and directories that have a kustomization of their
// own.
func Plain(tree fs.FS, dir string) []string {
	var out []string
	_ = fs.WalkDir(tree, dir, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // what can't be read is missed when it is rendered
		case len(out) >= maxListed:
			return fs.SkipAll
		case e.IsDir() && name != dir && strings.HasPrefix(e.Name(), "."):
			return fs.SkipDir
		case e.IsDir() && name != dir && Kustomized(tree, name):
			out = append(out, Relative(dir, name))
			return fs.SkipDir
		case !e.IsDir() && (path.Ext(name) == ".yaml" || path.Ext(name) == ".yml"):
			out = append(out, Relative(dir, name))
		}
		return nil
	})
	return out
}
