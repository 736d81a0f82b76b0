package git

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"trueup.dev/trueup/internal/source"
)

// Blame tells which commit wrote a line of a file (from 1). Where the blobs
// for that can't be had, it is the last commit that touched the file.
func (m *Mirror) Blame(ctx context.Context, commit, file string, line int) (source.Revision, error) {
	if !commitID.MatchString(commit) || line < 1 || !fs.ValidPath(file) {
		return source.Revision{}, fmt.Errorf("%s:%d at %q: not a line of a file at a commit", file, line, commit)
	}
	touched, ids, err := m.history(ctx, commit, file)
	if err != nil {
		return source.Revision{}, m.noticed(err)
	}
	if err := m.fetchBlobs(ctx, ids); err == nil {
		c := command{dir: m.gitDir(), args: []string{"blame", "--porcelain", "-s", fmt.Sprintf("-L%d,%d", line, line), commit, "--", file}}
		if out, err := c.output(ctx, localTimeout); err == nil && len(out) > 40 && commitID.Match(out[:40]) {
			return m.Revision(ctx, string(out[:40]))
		}
	}
	return m.Revision(ctx, touched)
}

// history gives the last commit that touched a file and the ids of all blobs
// that the file ever was.
func (m *Mirror) history(ctx context.Context, commit, file string) (last string, blobs []string, err error) {
	c := command{dir: m.gitDir(), args: []string{"log", "--format=%H", "--raw", "--no-abbrev", "--no-renames", "--no-show-signature", "--max-count=1000",
		commit, "--", ":(literal)" + file}}
	out, err := c.output(ctx, localTimeout)
	if err != nil {
		return "", nil, err
	}
	for _, l := range strings.Split(string(out), "\n") {
		if last == "" && commitID.MatchString(l) {
			last = l
		}
		f := strings.Fields(l)
		if len(f) < 5 || !strings.HasPrefix(f[0], ":") {
			continue
		}
		for _, id := range f[2:4] {
			if commitID.MatchString(id) && strings.Trim(id, "0") != "" {
				blobs = append(blobs, id)
			}
		}
	}
	if last == "" {
		return "", nil, fmt.Errorf("%s: not in the history of %.12s: %w", file, commit, source.ErrNoRef)
	}
	return last, blobs, nil
}
