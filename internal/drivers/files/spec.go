package files

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// Connect says which directory an environment is.
type Connect struct {
	// Root is the directory, absolute. It must exist: trueup does not make it,
	// because a missing root may be a disk that is not mounted.
	Root string `yaml:"root" json:"root" jsonschema:"required"`
}

// Validate checks the values.
func (c *Connect) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	switch {
	case c.Root == "":
		d.Errorf(plan.Source{}, "root", "name the directory, for example root: /srv/www", "is missing")
	case !filepath.IsAbs(c.Root):
		d.Errorf(plan.Source{}, "root", "write an absolute path", "%q is relative", c.Root)
	}
	return d
}

// Ownership says what becomes of objects that nobody asks for.
type Ownership string

// The ownerships: only what the target made or adopted; or everything under
// the root.
const (
	OwnPaths Ownership = "paths"
	OwnTree  Ownership = "tree"
)

// Spec is how a target's files are laid out.
type Spec struct {
	// Modes gives the permissions of files by glob, in octal: "0640". Without
	// one a file has 0755 when Git marks it executable, 0644 otherwise. Of
	// several globs that match, the longest counts.
	Modes map[string]string `yaml:"modes,omitempty" json:"modes,omitempty"`
	// Owners gives "user:group" (names or numbers) of files and symbolic links
	// by glob. Without one the owner is whoever trueup runs as, and a changed
	// owner is no drift.
	Owners map[string]string `yaml:"owners,omitempty" json:"owners,omitempty"`
	// Ignore lists globs that are neither taken from the repository nor
	// looked at in the directory.
	Ignore []string `yaml:"ignore,omitempty" json:"ignore,omitempty"`
	// Ownership is paths (the default: what others put there is left alone and
	// counted) or tree (all that is under the root and not asked for is
	// deleted).
	Ownership Ownership `yaml:"ownership,omitempty" json:"ownership,omitempty" jsonschema:"enum=paths,enum=tree"`
	// DirMode is the mode of directories made on demand; the default is 0755.
	DirMode string `yaml:"dirMode,omitempty" json:"dirMode,omitempty"`
	// Sensitive lists globs of files whose content is masked in plans.
	Sensitive []string `yaml:"sensitive,omitempty" json:"sensitive,omitempty"`
	// Templates lists globs of files in which {{ .name }} stands for a value
	// that the target declares under values.
	Templates []string `yaml:"templates,omitempty" json:"templates,omitempty"`
}

// Validate checks the values.
func (s *Spec) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	for _, g := range sortedKeys(s.Modes) {
		field := fmt.Sprintf("modes[%q]", g)
		checkGlob(&d, field, g)
		if _, err := parseMode(s.Modes[g]); err != nil {
			d.Errorf(plan.Source{}, field, `write it in octal, for example "0640"`, "%v", err)
		}
	}
	for _, g := range sortedKeys(s.Owners) {
		field := fmt.Sprintf("owners[%q]", g)
		checkGlob(&d, field, g)
		user, group, ok := strings.Cut(s.Owners[g], ":")
		if !ok || user == "" || group == "" {
			d.Errorf(plan.Source{}, field, `write "user:group"`, "%q is not an owner", s.Owners[g])
		}
	}
	checkGlobs(&d, "ignore", s.Ignore)
	checkGlobs(&d, "sensitive", s.Sensitive)
	checkGlobs(&d, "templates", s.Templates)
	if _, err := parseMode(s.DirMode); s.DirMode != "" && err != nil {
		d.Errorf(plan.Source{}, "dirMode", `write it in octal, for example "0755"`, "%v", err)
	}
	switch s.Ownership {
	case "", OwnPaths, OwnTree:
	default:
		d.Errorf(plan.Source{}, "ownership", "write paths or tree", "%q is unknown", s.Ownership)
	}
	return d
}

// Scope narrows an environment to some of its paths.
type Scope struct {
	// Files lists globs of paths below the root; empty means all.
	Files []string `yaml:"files,omitempty" json:"files,omitempty"`
}

// Validate checks the values.
func (s *Scope) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	checkGlobs(&d, "files", s.Files)
	return d
}

// Contains tells whether a path lies inside. A directory lies inside as well
// when a path below it may: directories are made on demand.
func (s *Scope) Contains(k plan.Key, kind string) bool {
	if s == nil || len(s.Files) == 0 {
		return true
	}
	for _, g := range s.Files {
		if matchGlob(g, string(k.Address)) || kind == kindDir && matchAbove(g, string(k.Address)) {
			return true
		}
	}
	return false
}

func checkGlobs(d *plan.Diagnostics, field string, globs []string) {
	for i, g := range globs {
		checkGlob(d, fmt.Sprintf("%s[%d]", field, i), g)
	}
}

func checkGlob(d *plan.Diagnostics, field, g string) {
	if err := validGlob(g); err != nil {
		d.Errorf(plan.Source{}, field, "see the page of the files driver on globs", "%v", err)
	}
}

// parseMode reads octal permission bits; setuid, setgid and sticky are
// refused, because a repository must not be able to hand out rights.
func parseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not an octal mode", s)
	}
	if n > 0o777 {
		return 0, fmt.Errorf("%q has bits beyond 0777: setuid, setgid and sticky are not allowed", s)
	}
	return fs.FileMode(n), nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
