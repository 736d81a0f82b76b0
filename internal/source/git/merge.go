package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/source"
)

// ErrConflict says that two commits can't be merged without a person.
var ErrConflict = errors.New("merge conflict")

// ConflictError lists the files that a merge leaves to a person.
type ConflictError struct{ Files []string }

// Error names the files.
func (e *ConflictError) Error() string {
	const most = 5
	files, more := e.Files, ""
	if len(files) > most {
		files, more = files[:most], fmt.Sprintf(" and %d more", len(e.Files)-most)
	}
	return "merge conflict in " + strings.Join(files, ", ") + more
}

// Is makes it an ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// asideRefs is where refs are kept that were fetched beside those followed.
const asideRefs = "refs/trueup/aside/"

// FetchAside fetches refs of the server beside those that are followed and
// gives their revisions in the same order. They are kept under a name until
// DropAside or the next call with that name; no policy is asked: what they
// give may be shown and planned, not trusted.
func (m *Mirror) FetchAside(ctx context.Context, name string, refs ...string) ([]source.Revision, error) {
	if err := checkRefName(name); err != nil {
		return nil, err
	}
	specs := make([]string, len(refs))
	for i, ref := range refs {
		if err := checkRefName(ref); err != nil || !strings.HasPrefix(ref, "refs/") {
			return nil, fmt.Errorf("%q is not a full ref name", ref)
		}
		specs[i] = "+" + ref + ":" + asideRefs + name + "/" + strconv.Itoa(i)
	}
	lock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := clearStale(m.gitDir()); err != nil {
		return nil, err
	}
	if err := m.fetchInto(ctx, m.gitDir(), lock, specs...); err != nil {
		return nil, m.noticed(err)
	}
	out := make([]source.Revision, len(refs))
	for i, ref := range refs {
		if out[i], err = m.repo.revision(ctx, asideRefs+name+"/"+strconv.Itoa(i)); err != nil {
			return nil, m.noticed(err)
		}
		out[i].Ref = ref
	}
	return out, nil
}

// DropAside forgets the refs kept under a name.
func (m *Mirror) DropAside(ctx context.Context, name string) error {
	if err := checkRefName(name); err != nil {
		return err
	}
	lock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	c := command{dir: m.gitDir(), args: []string{"for-each-ref", "--format=delete %(refname)", asideRefs + name + "/"}}
	out, err := c.output(ctx, localTimeout)
	if err != nil || len(out) == 0 {
		return err
	}
	c = command{dir: m.gitDir(), args: []string{"update-ref", "--stdin"}, stdin: strings.NewReader(string(out)), files: []*os.File{lock}}
	_, err = c.output(ctx, localTimeout)
	return err
}

// Merge gives the commit that merging head into base would make, as a
// synthetic commit that is kept under a name as FetchAside's are. The same
// two commits always give the same one. What can't be merged gives a
// *ConflictError.
func (m *Mirror) Merge(ctx context.Context, name, base, head string) (source.Revision, error) {
	if !commitID.MatchString(base) || !commitID.MatchString(head) {
		return source.Revision{}, fmt.Errorf("%q and %q are not full commit ids", base, head)
	}
	if err := checkRefName(name); err != nil {
		return source.Revision{}, err
	}
	at, err := m.Revision(ctx, head)
	if err != nil {
		return source.Revision{}, err
	}
	lock, err := m.lock(ctx)
	if err != nil {
		return source.Revision{}, err
	}
	defer lock.Close()
	tree, err := m.mergeTree(ctx, lock, base, head)
	if err != nil {
		return source.Revision{}, m.noticed(err)
	}
	date := strconv.FormatInt(at.Time.Unix(), 10) + " +0000"
	c := command{dir: m.gitDir(), files: []*os.File{lock}, stdin: strings.NewReader("Merge " + head + " into " + base + "\n"),
		args: []string{"commit-tree", tree, "-p", base, "-p", head},
		env: []string{"GIT_AUTHOR_NAME=trueup", "GIT_AUTHOR_EMAIL=trueup@localhost", "GIT_AUTHOR_DATE=" + date,
			"GIT_COMMITTER_NAME=trueup", "GIT_COMMITTER_EMAIL=trueup@localhost", "GIT_COMMITTER_DATE=" + date}}
	out, err := c.output(ctx, localTimeout)
	if err != nil {
		return source.Revision{}, m.noticed(err)
	}
	commit := strings.TrimSpace(string(out))
	keep := command{dir: m.gitDir(), args: []string{"update-ref", asideRefs + name + "/merge", commit}, files: []*os.File{lock}}
	if _, err := keep.output(ctx, localTimeout); err != nil {
		return source.Revision{}, m.noticed(err)
	}
	return m.Revision(ctx, commit)
}

// mergeTree merges two commits into a tree without a working copy. Files that
// both sides changed, or that may be renames, are fetched when they are
// missing; nothing of the repository is run.
func (m *Mirror) mergeTree(ctx context.Context, lock *os.File, base, head string) (string, error) {
	l, err := m.connect(ctx)
	if err != nil {
		return "", err
	}
	defer l.close()
	c := command{dir: m.gitDir(), args: []string{"merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", base, head},
		files: []*os.File{lock}, proto: l.proto, config: append(l.config, [2]string{"merge.renameLimit", "1000"}),
		env: append([]string{"GIT_NO_LAZY_FETCH=0"}, l.env...)}
	out, err := c.output(ctx, m.opt.Timeout)
	parts := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	var failed *Error
	if errors.As(err, &failed) && failed.Code == 1 && commitID.MatchString(parts[0]) {
		return "", &ConflictError{Files: sorted(parts[1:])}
	}
	if errors.As(err, &failed) && strings.Contains(failed.Stderr, "usage: git merge-tree") {
		return "", fmt.Errorf("git is too old to merge without a working copy: install git 2.38 or newer: %w", err)
	}
	if err != nil {
		return "", err
	}
	if !commitID.MatchString(parts[0]) {
		return "", fmt.Errorf("git merge-tree gave no tree (in %s)", filepath.Base(m.dir))
	}
	return parts[0], nil
}

// DefaultBranch asks the server for the name of its default branch.
func (m *Mirror) DefaultBranch(ctx context.Context) (string, error) {
	l, err := m.connect(ctx)
	if err != nil {
		return "", err
	}
	defer l.close()
	c := command{dir: m.gitDir(), args: []string{"ls-remote", "--symref", "origin", "HEAD"}, proto: l.proto, config: l.config, env: l.env}
	out, err := c.output(ctx, m.opt.Timeout)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(out)) {
		if ref, ok := strings.CutPrefix(line, "ref: refs/heads/"); ok {
			name, _, _ := strings.Cut(ref, "\t")
			return name, checkRefName(name)
		}
	}
	return "", fmt.Errorf("the server does not tell its default branch: %w", source.ErrNoRef)
}
