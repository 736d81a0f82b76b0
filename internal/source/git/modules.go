package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"trueup.dev/trueup/internal/source"
)

// modulePool keeps the mirrors of a repository's submodules.
type modulePool struct {
	owner *Mirror
	depth int
	mu    sync.Mutex
	open  map[string]*Mirror
}

// maxModuleDepth bounds submodules of submodules.
const maxModuleDepth = 4

// modules are the submodules of one commit.
type modules struct {
	pool *modulePool
	of   *commitTree
	mu   sync.Mutex
	urls map[string]string // by path; nil until .gitmodules was read
	done map[string]*commitTree
}

func (p *modulePool) of(t *commitTree) *modules {
	return &modules{pool: p, of: t, done: map[string]*commitTree{}}
}

func (p *modulePool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.open {
		_ = m.Close()
	}
	p.open = map[string]*Mirror{}
}

// tree gives the tree of the submodule at a path, fetching its commit if it
// isn't here.
func (s *modules) tree(ctx context.Context, at, commit string) (*commitTree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.done[at]; t != nil {
		return t, nil
	}
	if s.urls == nil {
		urls, err := s.read(ctx)
		if err != nil {
			return nil, err
		}
		s.urls = urls
	}
	raw, ok := s.urls[at]
	if !ok {
		return nil, fmt.Errorf("%s: .gitmodules doesn't name it: %w", at, source.ErrSubmodule)
	}
	u, err := s.pool.allowed(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", at, source.ErrSubmodule, err)
	}
	t, err := s.pool.commit(ctx, u, commit)
	if err != nil {
		return nil, fmt.Errorf("submodule %s: %w", at, err)
	}
	s.done[at] = t
	return t, nil
}

// read parses .gitmodules with git itself, which runs nothing for that.
func (s *modules) read(ctx context.Context) (map[string]string, error) {
	plain := *s.of
	plain.modules = nil
	e, ok, err := plain.Lookup(ctx, ".gitmodules")
	if err != nil || !ok {
		return map[string]string{}, err
	}
	if e.Mode != source.ModeFile && e.Mode != source.ModeExec {
		return nil, &source.UnsafeError{Path: ".gitmodules", Reason: "is not a plain file"}
	}
	b, err := plain.Blob(ctx, e, 1<<20)
	if err != nil {
		return nil, err
	}
	c := command{args: []string{"config", "--file", "-", "--no-includes", "--null", "--get-regexp", `^submodule\..*\.(path|url)$`},
		work: s.pool.owner.dir, stdin: strings.NewReader(string(b))}
	out, err := c.output(ctx, localTimeout)
	if err != nil {
		return nil, fmt.Errorf(".gitmodules: %w", err)
	}
	paths, urls := map[string]string{}, map[string]string{}
	for _, kv := range strings.Split(string(out), "\x00") {
		key, value, _ := strings.Cut(kv, "\n")
		if name, ok := strings.CutSuffix(key, ".path"); ok {
			paths[name] = value
		} else if name, ok := strings.CutSuffix(key, ".url"); ok {
			urls[name] = value
		}
	}
	byPath := map[string]string{}
	for name, p := range paths {
		byPath[path.Clean(p)] = urls[name]
	}
	return byPath, nil
}

// allowed resolves a submodule's URL and checks it against the operator's
// rules: https and ssh alone, from the repository's own host or a listed
// prefix.
func (p *modulePool) allowed(raw string) (string, error) {
	owner := p.owner.remote
	if strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../") {
		abs, err := relativeURL(owner, raw)
		if err != nil {
			return "", err
		}
		raw = abs
	}
	r, err := parseRemote(source.Options{URL: raw})
	if err != nil {
		return "", err
	}
	for _, prefix := range p.owner.opt.Submodules.Allow {
		if prefix != "" && strings.HasPrefix(raw, prefix) && (strings.HasSuffix(prefix, "/") || raw == prefix) && !strings.Contains(raw, "/../") {
			return raw, nil
		}
	}
	if r.kind == overLocal {
		return "", fmt.Errorf("%q is a local path, which a submodule can't name", raw)
	}
	if r.kind == overHTTP && owner.kind != overHTTP {
		return "", fmt.Errorf("%q isn't encrypted", raw)
	}
	if owner.host == "" || bareHost(r.host) != bareHost(owner.host) {
		return "", fmt.Errorf("%q is on another host; list its prefix under submodules.allow", raw)
	}
	return raw, nil
}

// bareHost leaves the user out of ssh hosts.
func bareHost(h string) string { return h[strings.LastIndexByte(h, '@')+1:] }

func relativeURL(owner remote, rel string) (string, error) {
	if owner.kind == overLocal {
		return path.Join(owner.url, rel), nil
	}
	if strings.Contains(owner.url, "://") {
		u, err := url.Parse(owner.url)
		if err != nil {
			return "", fmt.Errorf("%q can't be resolved", rel)
		}
		u.Path = path.Join("/", u.Path, rel)
		return u.String(), nil
	}
	host, p, _ := strings.Cut(owner.url, ":")
	abs := strings.HasPrefix(p, "/")
	if p = path.Join("/", p, rel); !abs {
		p = p[1:]
	}
	return host + ":" + p, nil
}

// commit gives the tree of a commit of another repository. Credentials go
// along only to the host that they are for.
func (p *modulePool) commit(ctx context.Context, u, commit string) (*commitTree, error) {
	if p.depth >= maxModuleDepth {
		return nil, fmt.Errorf("submodules are nested deeper than %d: %w", maxModuleDepth, source.ErrSubmodule)
	}
	m, err := p.mirror(ctx, u, commit)
	if err != nil {
		return nil, err
	}
	r, err := m.Revision(ctx, commit)
	if err != nil {
		if _, err = m.Fetch(ctx); err != nil {
			return nil, err
		}
		if r, err = m.Revision(ctx, commit); err != nil {
			return nil, err
		}
	}
	t := &commitTree{repo: m.repo, root: r.Tree, fetch: m}
	t.modules = m.modules.of(t)
	return t, nil
}

func (p *modulePool) mirror(ctx context.Context, u, commit string) (*Mirror, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := sha256.Sum256([]byte(u + "\x00" + commit))
	key := hex.EncodeToString(sum[:8])
	if m := p.open[key]; m != nil {
		return m, nil
	}
	opt := source.Options{URL: u, Follow: source.Follow{Commit: commit}, Submodules: p.owner.opt.Submodules, Limits: p.owner.opt.Limits, Timeout: p.owner.opt.Timeout}
	if r, err := parseRemote(opt); err == nil && r.kind == p.owner.remote.kind && r.host == p.owner.remote.host && r.kind != overLocal {
		opt.Credentials = p.owner.opt.Credentials
	}
	m, err := Open(ctx, filepath.Join(p.owner.dir, "modules", key), opt)
	if err != nil {
		return nil, err
	}
	m.modules.depth = p.depth + 1
	p.open[key] = m
	return m, nil
}

// attach connects what a mirror needs beside its repository.
func (m *Mirror) attach() {
	m.modules = &modulePool{owner: m, open: map[string]*Mirror{}}
	if m.opt.LFS.Enabled {
		m.lfs = newLFS(m)
	}
}
