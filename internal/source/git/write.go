package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source"
)

// Errors of writing.
var (
	// ErrMoved: the branch is no longer where it was expected to be.
	ErrMoved = errors.New("the branch has moved")
	// ErrRefused: the server took the push and refused it by a rule of its own,
	// as a protected branch.
	ErrRefused = errors.New("the server refused the push")
)

// Person is an author or a committer.
type Person struct{ Name, Email string }

// Commit is a commit to make: what some files of Base become. It is the same
// commit, by its id, whenever it is made of the same parts.
type Commit struct {
	Base      string            // its one parent
	Files     map[string][]byte // whole new contents of files that Base has
	Message   string
	Author    Person
	Committer Person
	At        time.Time
}

// Push says where a commit goes.
type Push struct {
	Branch string
	// Force replaces the branch, if it is still at Expect ("" is that it does
	// not exist). Without Force the branch can only be moved forward.
	Force  bool
	Expect string
}

// Person and branch names go into git's arguments and objects.
var (
	personName  = regexp.MustCompile(`^[^<>\x00-\x1f\x7f]{1,200}$`)
	personEmail = regexp.MustCompile(`^[^<>\s\x00-\x1f\x7f]{1,200}$`)
)

// Raw reads files of a commit as they are kept in Git. A file that is not
// there gives an error that wraps source.ErrNoRef.
func (m *Mirror) Raw(ctx context.Context, commit string, paths ...string) (map[string][]byte, error) {
	nodes, err := m.nodes(ctx, commit, paths)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, n := range nodes {
		ids = append(ids, n.id)
	}
	if err := m.fetchBlobs(ctx, ids); err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for p, n := range nodes {
		b, ok, err := m.repo.blob(ctx, n.id, m.limits.Blob)
		if err != nil || !ok {
			return nil, fmt.Errorf("%s: %w", p, errors.Join(err, m.noticed(source.ErrCorrupt)))
		}
		out[p] = b
	}
	return out, nil
}

// file is an entry of a tree that can be written.
type file struct{ mode, id string }

// nodes finds files in a commit. Links and submodules are no files.
func (m *Mirror) nodes(ctx context.Context, commit string, paths []string) (map[string]file, error) {
	if !commitID.MatchString(commit) {
		return nil, fmt.Errorf("%q is not a full commit id", commit)
	}
	out := map[string]file{}
	for _, p := range paths {
		if !filepath.IsLocal(p) || filepath.ToSlash(filepath.Clean(p)) != p || slices.Contains(strings.Split(strings.ToLower(p), "/"), ".git") {
			return nil, &source.UnsafeError{Path: p, Reason: "is no path of a file in the repository"}
		}
		c := command{dir: m.gitDir(), args: []string{"--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--", p}}
		said, err := c.output(ctx, localTimeout)
		if err != nil {
			return nil, m.noticed(err)
		}
		meta, name, _ := strings.Cut(strings.TrimSuffix(string(said), "\x00"), "\t")
		parts := strings.Fields(meta)
		switch {
		case len(parts) != 3 || name != p:
			return nil, fmt.Errorf("%s is not in commit %.12s: %w", p, commit, source.ErrNoRef)
		case parts[0] != "100644" && parts[0] != "100755":
			return nil, &source.UnsafeError{Path: p, Reason: "is no ordinary file"}
		}
		out[p] = file{mode: parts[0], id: parts[2]}
	}
	return out, nil
}

// Write makes a commit and pushes it, hooks off. It gives the commit's id.
func (m *Mirror) Write(ctx context.Context, c Commit, p Push) (string, error) {
	if err := checkWrite(c, p); err != nil {
		return "", err
	}
	nodes, err := m.nodes(ctx, c.Base, slices.Sorted(mapsKeys(c.Files)))
	if err != nil {
		return "", err
	}
	lock, err := m.lock(ctx)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	id, err := m.makeCommit(ctx, lock, c, nodes)
	if err != nil {
		return "", m.noticed(err)
	}
	return id, m.push(ctx, lock, id, p)
}

func mapsKeys(m map[string][]byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func checkWrite(c Commit, p Push) error {
	switch {
	case !commitID.MatchString(c.Base):
		return fmt.Errorf("%q is not a full commit id", c.Base)
	case len(c.Files) == 0:
		return errors.New("a commit without files")
	case strings.TrimSpace(c.Message) == "" || strings.ContainsRune(c.Message, 0):
		return errors.New("a commit without a message")
	case strings.HasPrefix(p.Branch, "-"):
		return fmt.Errorf("%q can't be the name of a branch", p.Branch)
	case p.Expect != "" && !commitID.MatchString(p.Expect):
		return fmt.Errorf("%q is not a full commit id", p.Expect)
	}
	for _, who := range []Person{c.Author, c.Committer} {
		if !personName.MatchString(who.Name) || !personEmail.MatchString(who.Email) {
			return fmt.Errorf("%q <%q> can't be an author", who.Name, who.Email)
		}
	}
	return checkRefName("refs/heads/" + p.Branch)
}

// makeCommit writes blobs, trees and the commit into the mirror. Only the
// trees on the way to the files are new; other blobs may be missing here.
func (m *Mirror) makeCommit(ctx context.Context, lock *os.File, c Commit, nodes map[string]file) (string, error) {
	dir, err := os.MkdirTemp(m.dir, "write")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "index")}
	git := func(stdin string, args ...string) (string, error) {
		cmd := command{dir: m.gitDir(), args: args, env: env, files: []*os.File{lock}}
		if stdin != "" {
			cmd.stdin = strings.NewReader(stdin)
		}
		out, err := cmd.output(ctx, localTimeout)
		return strings.TrimSpace(string(out)), err
	}
	if _, err := git("", "read-tree", c.Base); err != nil {
		return "", err
	}
	var index strings.Builder
	for _, p := range slices.Sorted(mapsKeys(c.Files)) {
		blob := command{dir: m.gitDir(), args: []string{"hash-object", "-w", "--no-filters", "--stdin"}, files: []*os.File{lock}, stdin: strings.NewReader(string(c.Files[p]))}
		id, err := blob.output(ctx, localTimeout)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&index, "%s %s\t%s\x00", nodes[p].mode, strings.TrimSpace(string(id)), p)
	}
	if _, err := git(index.String(), "update-index", "-z", "--index-info"); err != nil {
		return "", err
	}
	tree, err := git("", "write-tree", "--missing-ok")
	if err != nil {
		return "", err
	}
	date := strconv.FormatInt(c.At.Unix(), 10) + " +0000"
	env = append(env, "GIT_AUTHOR_NAME="+c.Author.Name, "GIT_AUTHOR_EMAIL="+c.Author.Email, "GIT_AUTHOR_DATE="+date,
		"GIT_COMMITTER_NAME="+c.Committer.Name, "GIT_COMMITTER_EMAIL="+c.Committer.Email, "GIT_COMMITTER_DATE="+date)
	return git(strings.TrimRight(c.Message, "\n")+"\n", "commit-tree", tree, "-p", c.Base)
}

// push sends a commit. No thin pack: what it would be cut against may be
// missing in a mirror without blobs.
func (m *Mirror) push(ctx context.Context, lock *os.File, id string, p Push) error {
	ref := "refs/heads/" + p.Branch
	args := []string{"push", "--porcelain", "--no-thin", "--no-verify", "--no-follow-tags", "--no-recurse-submodules", "--no-signed"}
	if p.Force {
		args = append(args, "--force-with-lease="+ref+":"+p.Expect)
	}
	args = append(args, "origin", id+":"+ref)
	out, err := m.talk(ctx, command{dir: m.gitDir(), args: args, files: []*os.File{lock}})
	return pushed(string(out), err)
}

// pushed reads the answer to a push.
func pushed(out string, err error) error {
	if err == nil {
		return nil
	}
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "!") {
			continue
		}
		why := strings.TrimSpace(line[strings.LastIndex(line, "\t")+1:])
		var failed *Error
		said := ""
		if errors.As(err, &failed) {
			said = remoteWords(failed.Stderr)
		}
		switch {
		case strings.Contains(why, "[remote rejected]") && !strings.Contains(why, "cannot lock ref") && !strings.Contains(why, "fetch first"):
			return fmt.Errorf("%w: %s%s", ErrRefused, why, said)
		default: // stale info, fetch first, non-fast-forward, cannot lock ref
			return fmt.Errorf("%w: %s", ErrMoved, why)
		}
	}
	return err
}

// remoteWords gives what the server said, for rules that explain themselves.
func remoteWords(stderr string) string {
	var words []string
	for line := range strings.Lines(stderr) {
		if w, ok := strings.CutPrefix(strings.TrimSpace(line), "remote: "); ok && strings.TrimSpace(w) != "" && len(words) < 4 {
			words = append(words, strings.TrimSpace(w))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return ": " + strings.Join(words, " ")
}

// talk runs a command that talks to the server and gives its output, also
// when it failed.
func (m *Mirror) talk(ctx context.Context, c command) ([]byte, error) {
	l, err := m.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer l.close()
	c.proto, c.config, c.env = l.proto, append(c.config, l.config...), append(c.env, l.env...)
	return c.output(ctx, m.opt.Timeout)
}

// RemoteBranch asks the server where a branch is; "" is that there is none.
func (m *Mirror) RemoteBranch(ctx context.Context, branch string) (string, error) {
	ref := "refs/heads/" + branch
	if err := checkRefName(ref); err != nil {
		return "", err
	}
	out, err := m.talk(ctx, command{dir: m.gitDir(), args: []string{"ls-remote", "--quiet", "origin", ref}})
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(out)) {
		if id, name, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && name == ref && commitID.MatchString(id) {
			return id, nil
		}
	}
	return "", nil
}

// DropBranch removes a branch of the server that is still where it was
// expected. One that is gone already is no error.
func (m *Mirror) DropBranch(ctx context.Context, branch, expect string) error {
	ref := "refs/heads/" + branch
	if err := checkRefName(ref); err != nil {
		return err
	}
	if !commitID.MatchString(expect) {
		return fmt.Errorf("%q is not a full commit id", expect)
	}
	if at, err := m.RemoteBranch(ctx, branch); err != nil || at == "" {
		return err
	}
	out, err := m.talk(ctx, command{dir: m.gitDir(), args: []string{"push", "--porcelain", "--no-verify", "--force-with-lease=" + ref + ":" + expect, "origin", ":" + ref}})
	return pushed(string(out), err)
}
