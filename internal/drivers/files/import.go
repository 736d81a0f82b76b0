package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// maxImport bounds what one import may bring into a repository.
const maxImport = 256 << 20

// Import gives the live files below the target's path, and a spec with the
// modes that Git can't keep. What is a list of globs; empty means all.
func (s *session) Import(ctx context.Context, in driver.Input, what []string) (driver.Imported, error) {
	spec, err := specOf(in)
	if err != nil {
		return driver.Imported{}, err
	}
	for _, g := range what {
		if err := validGlob(g); err != nil {
			return driver.Imported{}, driver.Permanent(err)
		}
	}
	with := *spec
	with.Modes = map[string]string{}
	for g, m := range spec.Modes {
		with.Modes[g] = m
	}
	st := &set{session: s, in: in, want: &wanted{spec: spec}, keep: map[string]bool{}}
	m := &importer{observer: st.observer(ctx), what: what, spec: &with, out: driver.Imported{Files: map[string][]byte{}, Spec: &with}}
	m.each = m.take
	if _, err := m.walk("."); err != nil {
		return driver.Imported{}, err
	}
	return m.out, nil
}

type importer struct {
	*observer
	what  []string
	spec  *Spec
	out   driver.Imported
	bytes int64
}

func (m *importer) take(at *os.Root, full, name string) error {
	info, err := at.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	if len(m.what) > 0 && !matchAny(m.what, full) {
		return nil
	}
	into := path.Join(m.in.Path, full)
	switch kindOf(info.Mode()) {
	case kindFile:
	case kindSymlink:
		link, err := at.Readlink(name)
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
	f, err := openSame(at, name, info)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxImport))
	if err != nil {
		return err
	}
	m.out.Files[into] = b
	if mode := info.Mode().Perm(); mode != 0o644 {
		if set, ok := longestMatch(m.spec.Modes, full); !ok || set != fmt.Sprintf("%04o", mode) {
			m.spec.Modes[literal(full)] = fmt.Sprintf("%04o", mode)
		}
	}
	return nil
}

// literal makes a glob that matches one path.
func literal(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}
