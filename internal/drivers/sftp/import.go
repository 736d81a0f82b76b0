package sftp

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

const (
	// maxImport bounds what one import may bring into a repository.
	maxImport = 256 << 20
	maxDepth  = 64
)

// Import gives the live files, and a spec with the modes that Git can't keep.
// What is a list of globs; empty means all.
func (s *session) Import(ctx context.Context, in driver.Input, what []string) (driver.Imported, error) {
	for _, g := range what {
		var d plan.Diagnostics
		checkGlob(&d, g, g)
		if err := d.Err(); err != nil {
			return driver.Imported{}, driver.Permanent(err)
		}
	}
	r, err := s.connect(ctx)
	if err != nil {
		return driver.Imported{}, err
	}
	defer r.close()
	spec := *specOf(in)
	spec.Files, spec.Modes = nil, map[string]string{}
	m := &importer{ctx: ctx, in: in, remote: r, what: what, spec: &spec, out: driver.Imported{Files: map[string][]byte{}, Spec: &spec}}
	return m.out, m.walk(".", 0)
}

type importer struct {
	ctx    context.Context
	in     driver.Input
	remote *remote
	what   []string
	spec   *Spec
	out    driver.Imported
	bytes  int64
}

func (m *importer) walk(dir string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s lies more than %d directories deep", dir, maxDepth)
	}
	list, err := m.remote.ReadDirContext(m.ctx, m.remote.path(dir))
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	slices.SortFunc(list, func(a, b fileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	for _, info := range list {
		full := path.Join(dir, info.Name())
		if strings.HasPrefix(info.Name(), tempPrefix) || matchAny(m.spec.Ignore, full) {
			continue
		}
		if info.IsDir() {
			err = m.walk(full, depth+1)
		} else if scopeOf(m.in).Contains(plan.Key{Address: plan.Address(full)}, kindFile) && (len(m.what) == 0 || matchAny(m.what, full)) {
			err = m.take(full, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *importer) take(full string, info fileInfo) error {
	into := path.Join(m.in.Path, full)
	switch kindOf(info.Mode()) {
	case kindFile:
	case kindSymlink:
		link, err := m.remote.ReadLink(m.remote.path(full))
		if err != nil {
			return err
		}
		m.out.Warnings.Warnf(plan.Source{File: into}, "", fmt.Sprintf("ln -s %q %q", link, into), "it is a symbolic link, which has to be made by hand")
		return nil
	default:
		m.out.Warnings.Warnf(plan.Source{File: into}, "", "", "it is a device, socket or pipe and is left out")
		return nil
	}
	if m.bytes += info.Size(); m.bytes > maxImport {
		return fmt.Errorf("more than %d bytes: import parts of the directory by naming globs", maxImport)
	}
	f, err := m.remote.Open(m.remote.path(full))
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxImport))
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	if int64(len(b)) != info.Size() {
		return fmt.Errorf("%s changed while it was read: %w", full, driver.ErrStale)
	}
	m.out.Files[into] = b
	if mode := info.Mode().Perm(); mode != 0o644 && !m.spec.IgnoreModes {
		m.spec.Modes[strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "{", `\{`).Replace(full)] = fmt.Sprintf("%04o", mode)
	}
	return nil
}
