package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/source"
)

// pinRef keeps a fixed commit from being collected.
const pinRef = "refs/trueup/pin"

// headRef holds the head of the server's default branch.
const headRef = "refs/trueup/head"

// gcPacks is the number of packs from which Fetch tidies up by itself.
const gcPacks = 50

// Fetch brings the mirror up to date and tells whether a followed ref moved.
// A damaged mirror is made anew; the old one stays until the new one is whole.
func (m *Mirror) Fetch(ctx context.Context) (changed bool, err error) {
	if c := m.opt.Follow.Commit; c != "" && len(m.opt.Refs) == 0 && !m.isDamaged() {
		if _, err := m.Revision(ctx, c); err == nil {
			return false, nil // a commit never changes
		}
	}
	lock, err := m.lock(ctx)
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if err := clearStale(m.gitDir()); err != nil {
		return false, err
	}
	before, err := m.refs(ctx, m.gitDir())
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err == nil && !m.isDamaged() && !m.incomplete() && m.packsWhole() {
		err = m.fetchInto(ctx, m.gitDir(), lock, m.refspecs()...)
	} else {
		err = source.ErrCorrupt
	}
	if isCorrupt(err) {
		if err = m.rebuild(ctx, lock); err != nil {
			return false, fmt.Errorf("the mirror was damaged and could not be made anew: %w", err)
		}
	}
	if err != nil {
		return false, err
	}
	after, err := m.refs(ctx, m.gitDir())
	if err == nil && before != after && m.packs() > gcPacks {
		err = m.gc(ctx, lock)
	}
	return before != after, err
}

func (m *Mirror) isDamaged() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.damaged
}

// refspecs says which refs are kept.
func (m *Mirror) refspecs() []string {
	f := m.opt.Follow
	var out []string
	switch {
	case f.Branch != "":
		out = append(out, fmt.Sprintf("+refs/heads/%s:refs/heads/%s", f.Branch, f.Branch))
	case f.TagPattern != "":
		out = append(out, "+refs/tags/*:refs/tags/*")
	case f.Commit != "":
		out = append(out, "+"+f.Commit+":"+pinRef)
	default:
		out = append(out, "+HEAD:"+headRef)
	}
	for _, r := range m.opt.Refs {
		out = append(out, "+"+r+":"+r)
	}
	return out
}

// fetchInto runs one git fetch. More refspecs or object ids may come by stdin.
func (m *Mirror) fetchInto(ctx context.Context, dir string, lock *os.File, refspecs ...string) error {
	args := []string{"fetch", "--quiet", "--force", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--no-recurse-submodules", "--stdin", "origin"}
	return m.network(ctx, command{dir: dir, args: args, stdin: strings.NewReader(strings.Join(refspecs, "\n") + "\n"), files: []*os.File{lock}})
}

// network runs a command that talks to the server.
func (m *Mirror) network(ctx context.Context, c command) error {
	l, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	c.proto, c.config, c.env = l.proto, append(c.config, l.config...), append(c.env, l.env...)
	_, err = c.output(ctx, m.opt.Timeout)
	return err
}

// rebuild clones anew beside the old repository and then takes its place.
func (m *Mirror) rebuild(ctx context.Context, lock *os.File) error {
	fresh := filepath.Join(m.dir, "rebuild.git")
	if err := m.initRepo(ctx, fresh, lock); err != nil {
		return err
	}
	if err := m.fetchInto(ctx, fresh, lock, m.refspecs()...); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	if err := replaceDir(fresh, m.gitDir()); err != nil {
		return err
	}
	m.mu.Lock()
	m.damaged = false
	m.mu.Unlock()
	return nil
}

// refs gives all refs and what they point to, as one text.
func (m *Mirror) refs(ctx context.Context, dir string) (string, error) {
	c := command{dir: dir, args: []string{"for-each-ref", "--format=%(objectname) %(refname)"}}
	out, err := c.output(ctx, localTimeout)
	return string(out), err
}

// packsWhole tells whether every pack has its index and ends with the checksum
// that the index names. It reads 40 bytes of each.
func (m *Mirror) packsWhole() bool {
	packs, err := filepath.Glob(filepath.Join(m.gitDir(), "objects/pack/*.pack"))
	indexes, err2 := filepath.Glob(filepath.Join(m.gitDir(), "objects/pack/*.idx"))
	if err != nil || err2 != nil || len(packs) < len(indexes) {
		return false
	}
	for _, idx := range indexes {
		a, err := tail(idx, 40)
		b, err2 := tail(strings.TrimSuffix(idx, ".idx")+".pack", 20)
		if err != nil || err2 != nil || string(a[:20]) != string(b) {
			return false
		}
	}
	return true
}

func tail(name string, n int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() < n {
		return nil, fmt.Errorf("%s: cut off", name)
	}
	b := make([]byte, n)
	_, err = f.ReadAt(b, st.Size()-n)
	return b, err
}

// fetchBlobs brings blobs that are missing here, in one request.
func (m *Mirror) fetchBlobs(ctx context.Context, ids []string) error {
	missing, err := m.missing(ctx, ids)
	if err != nil || len(missing) == 0 {
		return m.noticed(err)
	}
	lock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	// Another process may have brought them while this one waited.
	if missing, err = m.missing(ctx, missing); err != nil || len(missing) == 0 {
		return m.noticed(err)
	}
	args := []string{"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--no-recurse-submodules", "--stdin", "origin"}
	c := command{dir: m.gitDir(), args: args, files: []*os.File{lock}, stdin: strings.NewReader(strings.Join(missing, "\n") + "\n"),
		config: [][2]string{{"fetch.negotiationAlgorithm", "noop"}}}
	return m.noticed(m.network(ctx, c))
}

// missing gives those of the objects that aren't in the mirror.
func (m *Mirror) missing(ctx context.Context, ids []string) ([]string, error) {
	ids = sorted(slices.Clone(ids))
	c := command{dir: m.gitDir(), args: []string{"cat-file", "--batch-check=%(objecttype)"}, stdin: strings.NewReader(strings.Join(ids, "\n") + "\n")}
	out, err := c.output(ctx, localTimeout)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, line := range strings.Split(string(out), "\n") {
		if id, ok := strings.CutSuffix(line, " missing"); ok {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

func sorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
