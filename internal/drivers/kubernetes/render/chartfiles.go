package render

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	"helm.sh/helm/v4/pkg/ignore"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// Limits of an archive, and of a chart with all that is packed inside of it.
const (
	maxEntries  = 20_000
	maxUnpacked = 100 << 20
	maxNested   = 8
)

// chartFiles are the files of a chart, archives inside of it unpacked.
type chartFiles struct {
	list []*archive.BufferedFile
	// origin tells the file of the repository by where its content begins in
	// memory: Helm keeps the content, but no paths.
	origin map[*byte]string
	size   int64
}

func (c *chartFiles) add(name, from string, data []byte) error {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if c.size += int64(len(data)); c.size > maxUnpacked {
		return tooMuch(fmt.Sprintf("the chart has more than %d MiB", maxUnpacked>>20))
	}
	if len(c.list) >= maxEntries {
		return tooMuch(fmt.Sprintf("the chart has more than %d files", maxEntries))
	}
	c.list = append(c.list, &archive.BufferedFile{Name: name, Data: data})
	if len(data) > 0 {
		c.origin[&data[0]] = from
	}
	return nil
}

// from tells which file of the repository a content comes from.
func (c *chartFiles) from(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	return c.origin[&data[0]]
}

// chartOf reads a chart: a directory or an archive of the repository, or an
// archive that is fetched. It gives nil when it could not be had here.
func (r *run) chartOf() (*chartFiles, string, error) {
	spec := r.helmSpec()
	out := &chartFiles{origin: map[*byte]string{}}
	if s := spec.Source; s != nil {
		body, err := r.fetch(*s)
		if body == nil || err != nil {
			return nil, s.URL, err
		}
		return out, s.URL, out.unpack("", path.Base(s.URL)+".tgz", body, 0)
	}
	name := path.Join(r.in.Path, spec.Chart)
	dir, ok, err := r.files.exists(name)
	switch {
	case err != nil:
		return nil, name, err
	case !ok:
		return nil, name, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case dir:
		return out, path.Join(name, "Chart.yaml"), r.chartDir(out, name, "", 0)
	}
	body, err := r.files.read(name)
	if err != nil {
		return nil, name, err
	}
	return out, name, out.unpack("", name, body, 0)
}

// chartDir takes the files of a directory, without those that .helmignore
// names.
func (r *run) chartDir(out *chartFiles, dir, prefix string, depth int) error {
	rules := ignore.Empty()
	body, err := r.files.read(path.Join(dir, ignore.HelmIgnore))
	switch {
	case err == nil:
		if rules, err = ignore.Parse(bytes.NewReader(body)); err != nil {
			return bad(path.Join(dir, ignore.HelmIgnore), 0, "", "%v", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	rules.AddDefaults()
	return r.chartWalk(out, rules, dir, prefix, "", depth)
}

func (r *run) chartWalk(out *chartFiles, rules *ignore.Rules, dir, prefix, below string, depth int) error {
	if depth > maxNested*4 {
		return tooMuch(dir + ": the chart's directories are nested too deep")
	}
	entries, err := fs.ReadDir(r.files.tree, path.Join(dir, below))
	if err != nil {
		return err
	}
	for _, e := range entries {
		rel := path.Join(below, e.Name())
		name := path.Join(dir, rel)
		info, err := fs.Stat(r.files.tree, name) // follows links
		if err != nil {
			return err
		}
		switch {
		case rules.Ignore(rel, info):
		case info.IsDir():
			err = r.chartWalk(out, rules, dir, prefix, rel, depth+1)
		default:
			err = r.chartFile(out, name, path.Join(prefix, rel))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) chartFile(out *chartFiles, name, as string) error {
	body, err := r.files.open(name)
	if err != nil {
		return err
	}
	if packed(as) {
		return out.unpack(strings.TrimSuffix(as, ".tgz"), name, body, 1)
	}
	return out.add(as, name, body)
}

// packed tells that a file is a chart packed inside of another.
func packed(name string) bool {
	dir, file := path.Split(name)
	return path.Base(dir) == "charts" && strings.HasSuffix(file, ".tgz") && strings.IndexAny(file, "_.") != 0
}

func bad(file string, line int, mend, format string, args ...any) error {
	return &badFile{plan.Diagnostic{Severity: plan.Error, Source: plan.Source{File: file, Line: line}, Mend: mend, Message: fmt.Sprintf(format, args...)}}
}

// unpack takes the files of a packed chart, which lie in one directory.
func (c *chartFiles) unpack(prefix, from string, body []byte, depth int) error {
	if depth > maxNested {
		return tooMuch(from + ": charts are packed into each other too deep")
	}
	return untar(from, body, func(name string, data []byte) error {
		_, rest, inside := strings.Cut(name, "/")
		if !inside {
			return bad(from, 0, "make it with helm package", "this is no packed chart: %s lies in no directory", manifest.Short(name))
		}
		as, origin := path.Join(prefix, rest), path.Join(from, name)
		if packed(as) {
			return c.unpack(strings.TrimSuffix(as, ".tgz"), origin, data, depth+1)
		}
		return c.add(as, origin, data)
	})
}

// untar reads a tar.gz. Names that leave it, links and devices are refused,
// and so is what unpacks to more than it may.
func untar(from string, body []byte, visit func(name string, data []byte) error) error {
	zip, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return bad(from, 0, "", "this is no tar.gz: %v", err)
	}
	left := &io.LimitedReader{R: zip, N: maxUnpacked + 1<<20}
	t := tar.NewReader(left)
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case left.N <= 0:
			return tooMuch(fmt.Sprintf("%s unpacks to more than %d MiB", from, maxUnpacked>>20))
		case err != nil:
			return bad(from, 0, "", "this is no tar.gz: %v", err)
		case n > maxEntries:
			return tooMuch(fmt.Sprintf("%s holds more than %d files", from, maxEntries))
		}
		switch h.Typeflag {
		case tar.TypeDir, tar.TypeXGlobalHeader:
			continue
		case tar.TypeReg:
		default:
			return bad(from, 0, "pack files only, no links", "the archive's %s is no regular file", manifest.Short(h.Name))
		}
		name := path.Clean(strings.TrimPrefix(h.Name, "./"))
		if !fs.ValidPath(name) || name == "." || strings.Contains(name, `\`) {
			return bad(from, 0, "", "the archive's %s leads out of it", manifest.Short(h.Name))
		}
		data, err := io.ReadAll(io.LimitReader(t, maxFile+1))
		switch {
		case left.N <= 0 || len(data) > maxFile:
			return tooMuch(fmt.Sprintf("%s: %s is too large", from, manifest.Short(h.Name)))
		case err != nil:
			return bad(from, 0, "", "the archive ends in the middle")
		}
		if err := visit(name, data); err != nil {
			return err
		}
	}
}

// fetch gets an artefact, or notes why that is not possible here.
func (r *run) fetch(s Source) ([]byte, error) {
	if r.in.Fetch == nil {
		r.note("%s is not fetched here", s.URL)
		return nil, nil
	}
	return r.in.Fetch(r.ctx, s)
}
