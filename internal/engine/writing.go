package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/git"
	"trueup.dev/trueup/internal/store"
)

// ownBranches begins the names of all branches that trueup writes.
const ownBranches = "trueup/"

// ground is the state of a repository that edits are made on.
type ground struct {
	conf   *config.Repository
	mirror *git.Mirror
	branch string // that is followed, and that changes go to
	head   string // its commit
	bot    git.Person
	files  map[string]rawFile // read so far, by commit and name
}

// rawFile is what came of reading a file.
type rawFile struct {
	body []byte
	err  error
}

// raw reads a file of a commit, each once.
func (g *ground) raw(ctx context.Context, commit, name string) ([]byte, error) {
	key := commit + ":" + name
	if f, ok := g.files[key]; ok {
		return f.body, f.err
	}
	files, err := g.mirror.Raw(ctx, commit, name)
	if err == nil || errors.Is(err, source.ErrNoRef) {
		if g.files == nil {
			g.files = map[string]rawFile{}
		}
		g.files[key] = rawFile{files[name], err}
	}
	return files[name], err
}

// errNoBranch says that a repository has no branch that changes could go to.
var errNoBranch = errors.New("the repository follows tags or a commit, so there is no branch that a change could go to")

// ground fetches a repository and gives its newest accepted commit.
func (e *Engine) ground(ctx context.Context, repository string) (*ground, error) {
	conf, ok := e.cfg.Load().Repositories[repository]
	if !ok {
		return nil, fmt.Errorf("repository %q: %w", repository, store.ErrNotFound)
	}
	if conf.Tags != "" || conf.Commit != "" {
		return nil, fmt.Errorf("repository %s: %w", repository, errNoBranch)
	}
	g := &ground{conf: conf, branch: strings.TrimPrefix(conf.Branch, "refs/heads/")}
	var err error
	if g.bot, err = botOf(conf); err != nil {
		return nil, err
	}
	if g.mirror, err = e.mirror(ctx, repository); err != nil {
		return nil, err
	}
	if _, err := g.mirror.Fetch(ctx); err != nil {
		return nil, fmt.Errorf("repository %s: %w", repository, err)
	}
	rev, err := g.mirror.Resolve(ctx)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", repository, err)
	}
	g.head = rev.Commit
	if g.branch == "" {
		g.branch, err = g.mirror.DefaultBranch(ctx)
	}
	return g, err
}

// botOf is who makes trueup's commits.
func botOf(conf *config.Repository) (git.Person, error) {
	if conf.CommitAs == "" {
		return git.Person{Name: "trueup", Email: "trueup@localhost"}, nil
	}
	a, err := mail.ParseAddress(conf.CommitAs)
	if err != nil || a.Name == "" {
		return git.Person{}, fmt.Errorf("repository %s: commitAs: write it as NAME <ADDRESS>", conf.Name)
	}
	return git.Person{Name: a.Name, Email: a.Address}, nil
}

// read finds a field of a target in a commit. The file stands below the
// target's path, or beside it where the path is a file itself.
func (g *ground) read(ctx context.Context, commit, targetPath string, f edit.Field) (edit.Field, edit.Value, error) {
	candidates := []string{targetPath}
	if f.File != "" {
		candidates = []string{path.Join(targetPath, f.File), path.Join(path.Dir(targetPath), f.File)}
	}
	var first error
	for _, name := range candidates {
		body, err := g.raw(ctx, commit, name)
		if err != nil {
			if first == nil {
				first = err
			}
			if errors.Is(err, source.ErrNoRef) {
				continue
			}
			return f, edit.Value{}, err
		}
		f.File = name
		v, err := edit.Get(body, f)
		return f, v, err
	}
	return f, edit.Value{}, first
}

// edited gives the files with all changes made, and the difference.
func (g *ground) edited(ctx context.Context, base string, changes []edit.Change) (map[string][]byte, string, error) {
	names := map[string]bool{}
	for _, c := range changes {
		names[c.File] = true
	}
	old, err := g.mirror.Raw(ctx, base, slices.Sorted(maps.Keys(names))...)
	if err != nil {
		return nil, "", err
	}
	files := maps.Clone(old)
	for _, c := range changes {
		if strings.HasPrefix(string(files[c.File]), "version https://git-lfs.github.com/") {
			return nil, "", fmt.Errorf("%s is kept in Git LFS and can't be edited", c.File)
		}
		if files[c.File], err = edit.Set(files[c.File], c.Place, c.To); err != nil {
			return nil, "", err
		}
	}
	var diff strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		diff.WriteString(lineDiff(name, string(old[name]), string(files[name])))
	}
	return files, diff.String(), nil
}

// lineDiff shows the lines that differ. Edits never add or remove lines.
func lineDiff(name, old, now string) string {
	if old == now {
		return ""
	}
	a, b := strings.Split(old, "\n"), strings.Split(now, "\n")
	var out strings.Builder
	fmt.Fprintf(&out, "--- a/%s\n+++ b/%s\n", name, name)
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			fmt.Fprintf(&out, "@@ -%d +%d @@\n-%s\n+%s\n", i+1, i+1, strings.TrimSuffix(a[i], "\r"), strings.TrimSuffix(b[i], "\r"))
		}
	}
	return out.String()
}

// draft is a change that is to be proposed.
type draft struct {
	branch   string
	changes  []edit.Change
	subject  string   // of the commit, and title of the pull request
	body     string   // of the pull request
	trailers []string // of the commit: "Key: value"
	labels   []string
}

func (d draft) message() string {
	var b strings.Builder
	b.WriteString(d.subject + "\n\n")
	for _, c := range d.changes {
		fmt.Fprintf(&b, "%s: %s -> %s\n", c.Field, c.From.Text, c.To.Text)
	}
	b.WriteString("\n" + strings.Join(append(d.trailers, "Trueup-Branch: "+d.branch), "\n"))
	return b.String()
}

// errOthers says that a branch of ours holds somebody else's work.
var errOthers = errors.New("somebody else has pushed to it; merge it or remove it")

// propose pushes a draft to its own branch and opens or updates its pull
// request. Where there is no forge the pushed branch is all.
func (e *Engine) propose(ctx context.Context, g *ground, d draft) (edit.Written, error) {
	w := edit.Written{Repository: g.conf.Name, Base: g.branch, Branch: d.branch, Changes: d.changes}
	if !strings.HasPrefix(d.branch, ownBranches) {
		return w, fmt.Errorf("branch %q is none of trueup's", d.branch)
	}
	files, diff, err := g.edited(ctx, g.head, d.changes)
	if err != nil {
		return w, err
	}
	w.Diff = diff
	if w.Commit, err = e.pushOwn(ctx, g, d, files); err != nil {
		return w, fmt.Errorf("branch %s of %s: %w", d.branch, g.conf.Name, err)
	}
	f, err := e.Forge(ctx, g.conf.Name)
	if errors.Is(err, store.ErrNotFound) {
		w.Notes = append(w.Notes, fmt.Sprintf("the repository has no forge in the configuration: the branch %s was pushed, open a pull request for it yourself", d.branch))
		return w, nil
	}
	if err != nil {
		return w, err
	}
	p, err := f.Propose(ctx, forge.Proposal{Base: g.branch, Head: d.branch, Title: d.subject, Body: forge.Shorten(d.body, f.Info().CommentLimit), Labels: d.labels})
	if err != nil {
		return w, fmt.Errorf("the branch %s was pushed, but no pull request could be opened: %w", d.branch, err)
	}
	w.Number, w.URL = p.Number, p.URL
	return w, nil
}

// pushOwn brings a branch of ours to one commit on the newest base. A branch
// that holds the same files already stays as it is.
func (e *Engine) pushOwn(ctx context.Context, g *ground, d draft, files map[string][]byte) (string, error) {
	at, err := g.ours(ctx, d.branch)
	if err != nil {
		return "", err
	}
	if g.holds(ctx, at, files) {
		return at, nil
	}
	return g.mirror.Write(ctx, g.commit(e, d, files), git.Push{Branch: d.branch, Force: true, Expect: at})
}

// holds tells whether a commit has these files already.
func (g *ground) holds(ctx context.Context, commit string, files map[string][]byte) bool {
	if commit == "" {
		return false
	}
	there, err := g.mirror.Raw(ctx, commit, slices.Sorted(maps.Keys(files))...)
	return err == nil && maps.EqualFunc(there, files, func(a, b []byte) bool { return string(a) == string(b) })
}

// current tells whether a branch of ours says all that a draft would.
func (g *ground) current(ctx context.Context, branch string, changes []edit.Change) (bool, error) {
	files, _, err := g.edited(ctx, g.head, changes)
	if err != nil {
		return false, err
	}
	at, err := g.ours(ctx, branch)
	return g.holds(ctx, at, files), err
}

func (g *ground) commit(e *Engine, d draft, files map[string][]byte) git.Commit {
	return git.Commit{Base: g.head, Files: files, Message: d.message(), Author: g.bot, Committer: g.bot, At: e.clock()}
}

// ours gives where a branch of ours is on the server, "" for nowhere. One that
// somebody else has pushed to is an error.
func (g *ground) ours(ctx context.Context, branch string) (string, error) {
	at, err := g.mirror.RemoteBranch(ctx, branch)
	if err != nil || at == "" {
		return "", err
	}
	name := "edits/" + strings.TrimPrefix(branch, ownBranches)
	revs, err := g.mirror.FetchAside(ctx, name, "refs/heads/"+branch)
	if err != nil {
		return "", err
	}
	if revs[0].AuthorEmail != g.bot.Email {
		return "", fmt.Errorf("%w (its newest commit %.12s is by %s)", errOthers, revs[0].Commit, revs[0].Author)
	}
	return revs[0].Commit, nil
}

// commitTries is how often a commit is made anew because the branch moved.
const commitTries = 5

// commitDirect commits to the followed branch itself. make gives the changes
// on the newest base; none ends it.
func (e *Engine) commitDirect(ctx context.Context, g *ground, make func(g *ground) (draft, error)) (edit.Written, error) {
	w := edit.Written{Repository: g.conf.Name, Base: g.branch, Branch: g.branch}
	if g.conf.Signatures != nil {
		return w, fmt.Errorf("repository %s asks for signed commits, which trueup can't make: use via: pullRequest", g.conf.Name)
	}
	for try := 1; ; try++ {
		d, err := make(g)
		if err != nil || len(d.changes) == 0 {
			return w, err
		}
		files, diff, err := g.edited(ctx, g.head, d.changes)
		if err != nil {
			return w, err
		}
		w.Changes, w.Diff = d.changes, diff
		w.Commit, err = g.mirror.Write(ctx, g.commit(e, d, files), git.Push{Branch: g.branch})
		if err == nil {
			return w, nil
		}
		if !errors.Is(err, git.ErrMoved) || try == commitTries {
			return w, fmt.Errorf("branch %s of %s: %w", g.branch, g.conf.Name, err)
		}
		if g, err = e.ground(ctx, g.conf.Name); err != nil {
			return w, err
		}
	}
}

// branchPart makes one part of a branch's name of any name. Two names never
// share one.
func branchPart(s string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r == '.':
			return '_'
		}
		return '-'
	}, s)
	if out == s && out != "" {
		return out
	}
	return strings.Trim(out, "-") + "-" + digestOf([]byte(s))[:6]
}
