package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/source"
)

var abbreviated = regexp.MustCompile(`^[0-9a-f]{7,40}$`)

// checkRefName refuses what git refuses as the name of a ref, and more.
func checkRefName(name string) error {
	bad := name == "" || len(name) > 255 || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") ||
		strings.HasSuffix(name, ".") || strings.Contains(name, "..") || strings.Contains(name, "//") || strings.Contains(name, "@{") || name == "@" ||
		strings.ContainsAny(name, " ~^:?*[\\\x7f") || strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 })
	for _, part := range strings.Split(name, "/") {
		bad = bad || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock")
	}
	if bad {
		return fmt.Errorf("%q is not a valid name of a branch or tag", name)
	}
	return nil
}

// checkFollow checks that at most one thing is followed, and that it is valid.
func checkFollow(opt source.Options) error {
	f := opt.Follow
	n := 0
	for _, s := range []string{f.Branch, f.TagPattern, f.Commit} {
		if s != "" {
			n++
		}
	}
	if n > 1 {
		return errors.New("follow only one of: a branch, a tag pattern, a commit")
	}
	for _, r := range opt.Refs {
		if !strings.HasPrefix(r, "refs/") || checkRefName(strings.ReplaceAll(r, "*", "x")) != nil || strings.Count(r, "*") > 1 {
			return fmt.Errorf("%q is not a full ref name, as refs/pull/*/head", r)
		}
	}
	switch {
	case f.Branch != "":
		return checkRefName(f.Branch)
	case f.Commit != "" && !commitID.MatchString(f.Commit):
		return fmt.Errorf("%q is not a full commit id of 40 hexadecimal digits", f.Commit)
	case f.TagPattern != "":
		_, err := parseTagPattern(f.TagPattern)
		return err
	}
	return nil
}

// Resolve gives the revision that is followed, as of the last Fetch. It is
// refused when the signature or rewind policy says so; the error wraps
// source.ErrUnsigned or source.ErrRewound.
func (m *Mirror) Resolve(ctx context.Context) (source.Revision, error) {
	r, err := m.head(ctx)
	if err != nil {
		return r, m.noticed(err)
	}
	lock, err := m.lockFile(ctx, "state.lock")
	if err != nil {
		return r, err
	}
	defer lock.Close()
	s, err := m.loadState()
	if err != nil {
		return r, err
	}
	key := m.followKey()
	was := s.Accepted[key]
	if was.Commit == "" {
		was.Commit = m.opt.Accepted
	}
	if err := m.checkRewind(ctx, was, r); err != nil {
		return r, m.noticed(err)
	}
	if r.SignedBy, err = m.verify(ctx, was.Commit, r); err != nil {
		return r, m.noticed(err)
	}
	return r, m.accept(s, key, r)
}

// Accept makes a commit the accepted one, so that a history that was rewritten
// on purpose is followed from there.
func (m *Mirror) Accept(ctx context.Context, commit string) error {
	r, err := m.Revision(ctx, commit)
	if err != nil {
		return err
	}
	lock, err := m.lockFile(ctx, "state.lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	s, err := m.loadState()
	if err != nil {
		return err
	}
	if head, err := m.head(ctx); err == nil && head.Commit == commit {
		r = head
	}
	return m.accept(s, m.followKey(), r)
}

func (m *Mirror) accept(s state, key string, r source.Revision) error {
	now := accepted{Commit: r.Commit, Tag: r.Tag}
	if s.Accepted[key] == now {
		return nil
	}
	if s.Accepted == nil {
		s.Accepted = map[string]accepted{}
	}
	s.Accepted[key] = now
	return m.saveState(s)
}

func (m *Mirror) followKey() string {
	f := m.opt.Follow
	switch {
	case f.Branch != "":
		return "branch:" + f.Branch
	case f.TagPattern != "":
		return "tags:" + f.TagPattern
	case f.Commit != "":
		return "commit:" + f.Commit
	}
	return "default branch"
}

// head finds the followed revision, before any policy.
func (m *Mirror) head(ctx context.Context) (source.Revision, error) {
	f := m.opt.Follow
	switch {
	case f.Commit != "":
		r, err := m.repo.revision(ctx, f.Commit)
		return r, m.orNotFetched(ctx, err)
	case f.Branch != "":
		r, err := m.repo.revision(ctx, "refs/heads/"+f.Branch)
		r.Ref = "refs/heads/" + f.Branch
		return r, m.orNotFetched(ctx, err)
	}
	if f.TagPattern != "" {
		return m.headTag(ctx)
	}
	r, err := m.repo.revision(ctx, headRef)
	r.Ref = "HEAD"
	return r, m.orNotFetched(ctx, err)
}

// orNotFetched tells a ref that doesn't exist from a mirror that is empty.
func (m *Mirror) orNotFetched(ctx context.Context, err error) error {
	if !errors.Is(err, source.ErrNoRef) {
		return err
	}
	if refs, rerr := m.refs(ctx, m.gitDir()); rerr == nil && refs == "" {
		return fmt.Errorf("%w: %w", source.ErrNotFetched, err)
	}
	return err
}

func (m *Mirror) headTag(ctx context.Context) (source.Revision, error) {
	c := command{dir: m.gitDir(), args: []string{"for-each-ref", "--format=%(refname:strip=2)", "refs/tags/"}}
	out, err := c.output(ctx, localTimeout)
	if err != nil {
		return source.Revision{}, err
	}
	pattern, err := parseTagPattern(m.opt.Follow.TagPattern)
	if err != nil {
		return source.Revision{}, err
	}
	tag := pattern.highest(strings.Fields(string(out)))
	if tag == "" {
		return source.Revision{}, m.orNotFetched(ctx, fmt.Errorf("no tag matches %q: %w", m.opt.Follow.TagPattern, source.ErrNoRef))
	}
	r, err := m.repo.revision(ctx, "refs/tags/"+tag)
	r.Ref, r.Tag = "refs/tags/"+tag, tag
	return r, err
}

// checkRewind refuses a revision that leaves the history accepted before.
func (m *Mirror) checkRewind(ctx context.Context, was accepted, r source.Revision) error {
	if was.Commit == "" || was.Commit == r.Commit || m.opt.Rewind == source.FollowRewind || m.opt.Follow.Commit != "" {
		return nil
	}
	mend := "if that is intended, accept the new commit or set rewind: follow"
	if r.Tag != "" {
		switch pattern, err := parseTagPattern(m.opt.Follow.TagPattern); {
		case err != nil:
			return err
		case r.Tag == was.Tag:
			return fmt.Errorf("%w: tag %s moved from %.12s to %.12s; %s", source.ErrRewound, r.Tag, was.Commit, r.Commit, mend)
		case was.Tag != "" && pattern.less(r.Tag, was.Tag):
			return fmt.Errorf("%w: tag %s is gone and %s would be a step back; %s", source.ErrRewound, was.Tag, r.Tag, mend)
		}
		return nil
	}
	ok := false
	if _, err := m.repo.revision(ctx, was.Commit); err == nil {
		if ok, err = m.IsAncestor(ctx, was.Commit, r.Commit); err != nil {
			return err
		}
	} else if !errors.Is(err, source.ErrNoRef) {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: %s went from %.12s to %.12s, which doesn't contain it; %s", source.ErrRewound, r.Ref, was.Commit, r.Commit, mend)
	}
	return nil
}

// ResolveRef finds a branch, tag or commit of the mirror. It asks no policy:
// what it gives may be shown and planned; only what Resolve gives is trusted.
func (m *Mirror) ResolveRef(ctx context.Context, ref string) (source.Revision, error) {
	r, err := m.repo.resolveRef(ctx, ref)
	return r, m.noticed(err)
}

func (r *repo) resolveRef(ctx context.Context, ref string) (source.Revision, error) {
	if ref == "HEAD" {
		return r.revision(ctx, ref)
	}
	if err := checkRefName(ref); err != nil {
		return source.Revision{}, err
	}
	names := []string{"refs/heads/" + ref, "refs/tags/" + ref, "refs/remotes/" + ref}
	if strings.HasPrefix(ref, "refs/") {
		names = []string{ref}
	}
	for _, n := range names {
		rev, err := r.revision(ctx, n)
		if errors.Is(err, source.ErrNoRef) {
			continue
		}
		if rev.Ref = n; strings.HasPrefix(n, "refs/tags/") {
			rev.Tag = strings.TrimPrefix(n, "refs/tags/")
		}
		return rev, err
	}
	if abbreviated.MatchString(ref) {
		return r.revision(ctx, ref)
	}
	return source.Revision{}, fmt.Errorf("%s: %w", ref, source.ErrNoRef)
}

// lockFile takes one of the mirror's locks.
func (m *Mirror) lockFile(ctx context.Context, name string) (*os.File, error) {
	return flock(ctx, filepath.Join(m.dir, name))
}
