package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/git"
	"trueup.dev/trueup/internal/store"
)

// repoPool keeps one open mirror and one index per repository.
type repoPool struct {
	e  *Engine
	mu sync.Mutex
	m  map[string]*repository
}

// repository is a watched repository in this process.
type repository struct {
	name string
	mu   sync.Mutex // guards what follows
	// mirror is opened on first use.
	mirror *git.Mirror
	index  *repoIndex
	// preview is an index that is only read, for pull requests.
	preview *repoIndex
	// told is the last success before the outage that was reported.
	told time.Time
}

// repoIndex is what the store knows of a repository's targets, in a form that
// answers "which targets does this path concern" at once.
type repoIndex struct {
	head      string // commit that it stands for
	configVer int64
	targets   map[string]*config.Resolved
	paths     *pathIndex
	// manifests lists target ids by the trueup.yaml that declares them.
	manifests map[string][]string
	// promotes has the targets that others promote from by themselves.
	promotes map[string]bool
	// dependents lists, for a target, those that wait for or read from it.
	dependents map[string][]string
}

func newRepoPool(e *Engine) *repoPool { return &repoPool{e: e, m: map[string]*repository{}} }

func (p *repoPool) get(name string) *repository {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.m[name]
	if r == nil {
		r = &repository{name: name}
		p.m[name] = r
	}
	return r
}

// reset forgets the repositories whose options keep no longer names as they
// are; nil forgets all.
func (p *repoPool) reset(keep func(name string) bool) {
	p.mu.Lock()
	var gone []*repository
	for name, r := range p.m {
		if keep == nil || !keep(name) {
			gone = append(gone, r)
			delete(p.m, name)
		}
	}
	p.mu.Unlock()
	for _, r := range gone {
		r.closeMirror()
	}
}

func (r *repository) closeMirror() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mirror != nil {
		_ = r.mirror.Close()
	}
	r.mirror = nil
}

func (p *repoPool) gc(ctx context.Context) {
	p.mu.Lock()
	all := make([]*repository, 0, len(p.m))
	for _, r := range p.m {
		all = append(all, r)
	}
	p.mu.Unlock()
	for _, r := range all {
		r.mu.Lock()
		m := r.mirror
		r.mu.Unlock()
		if m == nil {
			continue
		}
		if err := m.GC(ctx); err != nil {
			p.e.log.Warn("a mirror could not be packed", "repository", r.name, "error", err)
		}
	}
}

// mirror gives the repository's mirror, cloning it when it is not there yet.
func (e *Engine) mirror(ctx context.Context, name string) (*git.Mirror, error) {
	conf, ok := e.cfg.Load().Repositories[name]
	if !ok {
		return nil, fmt.Errorf("repository %q is not in the configuration", name)
	}
	r := e.repos.get(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mirror != nil {
		return r.mirror, nil
	}
	opt, err := e.sourceOptions(ctx, conf)
	if err != nil {
		return nil, err
	}
	// What was taken in stays the measure of a force push, also when the mirror
	// is lost.
	st, err := e.store.Repository(ctx, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	opt.Accepted = st.Head
	m, err := git.Open(ctx, filepath.Join(e.dataDir, "mirrors", name), opt)
	if err != nil {
		return nil, err
	}
	r.mirror = m
	return m, nil
}

// sourceOptions resolves the credentials of a repository.
func (e *Engine) sourceOptions(ctx context.Context, c *config.Repository) (source.Options, error) {
	cfg := e.cfg.Load()
	o := source.Options{URL: c.URL, Follow: source.Follow{Branch: c.Branch, TagPattern: c.Tags, Commit: c.Commit},
		Rewind: source.RewindPolicy(c.Rewind), Submodules: source.Submodules{Enabled: c.Submodules},
		LFS: source.LFS{Enabled: c.LFS}, Timeout: cfg.Limits.FetchTimeout}
	cr := &o.Credentials
	cr.Username = c.Credentials.Username
	for ref, into := range map[secret.Ref]*secret.Value{c.Credentials.Password: &cr.Password,
		c.Credentials.Token: &cr.Token, c.Credentials.SSHKey: &cr.SSHKey} {
		v, err := e.resolvers.Resolve(ctx, ref)
		if err != nil {
			return o, err
		}
		if ref != "" {
			*into = v
		}
	}
	var err error
	if cr.KnownHosts, err = readText(cfg.Dir, c.Credentials.KnownHosts); err != nil {
		return o, err
	}
	if cr.CA, err = readText(cfg.Dir, c.Credentials.CA); err != nil {
		return o, err
	}
	if fc, ok := c.ForgeConnection(); ok && fc.Key != "" && cr.Password.Empty() && cr.Token.Empty() && cr.SSHKey.Empty() {
		cr.Fresh = func(ctx context.Context) (secret.Value, error) { return e.gitToken(ctx, c.Name) }
	}
	if c.Signatures != nil {
		o.Signatures, err = signaturePolicy(cfg.Dir, c.Signatures)
	}
	return o, err
}

// gitToken gives the token that a GitHub App has for git; it lasts an hour.
func (e *Engine) gitToken(ctx context.Context, repository string) (secret.Value, error) {
	f, err := e.Forge(ctx, repository)
	if err != nil {
		return secret.Value{}, err
	}
	g, ok := f.(forge.Gitter)
	if !ok {
		return secret.Value{}, fmt.Errorf("repository %s: credentials for git are missing: %w", repository, forge.ErrUnsupported)
	}
	return g.GitToken(ctx)
}

func signaturePolicy(dir string, s *config.Signatures) (*source.SignaturePolicy, error) {
	p := &source.SignaturePolicy{}
	switch s.Require {
	case "commits":
		p.Verify = source.VerifyHead
	case "tags":
		p.Verify = source.VerifyTag
	default:
		p.Verify = source.Verify(s.Require)
	}
	for _, f := range s.GPG {
		text, err := readText(dir, f)
		if err != nil {
			return nil, err
		}
		p.GPGKeys = append(p.GPGKeys, text)
	}
	for _, f := range s.SSH {
		text, err := readText(dir, f)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				p.SSHKeys = append(p.SSHKeys, line)
			}
		}
	}
	return p, nil
}

// readText reads a file that the operator's configuration names; no name is
// no text.
func readText(dir, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	b, err := os.ReadFile(name)
	return string(b), err
}

// loadIndex gives the index for the repository's state in the store, building
// it anew when another replica has taken in a newer commit.
func (e *Engine) loadIndex(ctx context.Context, name string, st store.RepositoryState) (*repoIndex, error) {
	r := e.repos.get(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.index != nil && r.index.head == st.Head && r.index.configVer == st.ConfigVer {
		return r.index, nil
	}
	x, err := e.buildIndex(ctx, name, st)
	if err != nil {
		return nil, err
	}
	r.index = x
	return x, nil
}

// buildIndex makes an index of what the store knows.
func (e *Engine) buildIndex(ctx context.Context, name string, st store.RepositoryState) (*repoIndex, error) {
	x := newRepoIndex(st.Head, st.ConfigVer)
	err := e.eachTarget(ctx, store.TargetFilter{Repository: name, State: store.Active}, func(t store.Target) error {
		res := &config.Resolved{}
		if err := json.Unmarshal(t.Config, res); err != nil {
			return fmt.Errorf("target %s: stored configuration: %w", t.ID, err)
		}
		x.add(res)
		return nil
	})
	return x, err
}

func newRepoIndex(head string, ver int64) *repoIndex {
	return &repoIndex{head: head, configVer: ver, targets: map[string]*config.Resolved{}, paths: newPathIndex(),
		promotes: map[string]bool{}, manifests: map[string][]string{}, dependents: map[string][]string{}}
}

func (x *repoIndex) add(r *config.Resolved) {
	if old := x.targets[r.ID]; old != nil {
		x.remove(old)
	}
	x.targets[r.ID] = r
	x.paths.add(r)
	x.manifests[r.Manifest] = append(x.manifests[r.Manifest], r.ID)
	if r.Promote != nil && r.Promote.After > 0 {
		x.promotes[r.Promote.From] = true
	}
	for _, up := range upstreams(r) {
		x.dependents[up] = append(x.dependents[up], r.ID)
	}
}

// follows tells whether a target follows the versions of images or charts.
func (x *repoIndex) follows() bool {
	for _, r := range x.targets {
		if len(r.Images) > 0 {
			return true
		}
	}
	return false
}

func (x *repoIndex) remove(r *config.Resolved) {
	delete(x.targets, r.ID)
	x.paths.remove(r)
	x.manifests[r.Manifest] = without(x.manifests[r.Manifest], r.ID)
	for _, up := range upstreams(r) {
		x.dependents[up] = without(x.dependents[up], r.ID)
	}
}

// upstreams lists the targets that a target depends on, each once.
func upstreams(r *config.Resolved) []string {
	seen := map[string]bool{}
	var out []string
	add := func(id string) {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	for _, d := range r.DependsOn {
		add(d)
	}
	for _, v := range r.Values {
		add(v.Target)
	}
	return out
}

// fetchFailed remembers why a fetch failed; a failure to do so is logged, for
// the next poll brings it again.
func (e *Engine) fetchFailed(ctx context.Context, st store.RepositoryState, err error) {
	st.Error, st.ErrorAt = err.Error(), e.clock()
	if perr := e.store.PutRepository(context.WithoutCancel(ctx), st); perr != nil {
		e.log.Error("a repository's state could not be stored", "repository", st.Name, "error", perr)
	}
}

// sourceAge is how long ago the repository was last read.
func (e *Engine) sourceAge(st store.RepositoryState) time.Duration {
	if st.FetchedAt.IsZero() {
		return 0
	}
	return e.clock().Sub(st.FetchedAt)
}
