package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"trueup.dev/trueup/internal/source"
)

const nonBlock = syscall.O_NONBLOCK

// Worktree opens a local checkout. With ref "" the snapshot is the working
// tree itself, as it is on disk: changed and new files count, ignored ones
// don't. With a ref it is that commit of the local repository. A directory
// that isn't under Git is a working tree without a revision.
func Worktree(ctx context.Context, dir, ref string) (*Snapshot, source.Revision, error) {
	top, gitDir, err := locate(ctx, dir)
	if err != nil {
		return nil, source.Revision{}, err
	}
	if gitDir == "" {
		if ref != "" {
			return nil, source.Revision{}, fmt.Errorf("%s is not in a Git repository, so it has no %q: %w", dir, ref, source.ErrNoRef)
		}
		root, err := os.OpenRoot(top)
		if err != nil {
			return nil, source.Revision{}, err
		}
		return source.NewSnapshot(newDiskTree(root, nil), source.Limits{}, nil), source.Revision{}, nil
	}
	r := newRepo(gitDir, safeDirectory)
	if ref != "" {
		rev, err := r.resolveRef(ctx, ref)
		if err != nil {
			return nil, rev, err
		}
		return source.NewSnapshot(&commitTree{repo: r, root: rev.Tree}, source.Limits{}, nil), rev, nil
	}
	return onDisk(ctx, r, top, gitDir)
}

// safeDirectory lets root read a checkout of somebody else: only data is read.
var safeDirectory = [][2]string{{"safe.directory", "*"}}

// onDisk makes the snapshot of a working tree.
func onDisk(ctx context.Context, r *repo, top, gitDir string) (*Snapshot, source.Revision, error) {
	defer r.batch.close()
	rev, err := r.resolveRef(ctx, "HEAD")
	if err != nil && !errors.Is(err, source.ErrNoRef) {
		return nil, rev, err
	}
	list := command{args: []string{"--git-dir=" + gitDir, "--work-tree=" + top, "ls-files", "-z", "--cached", "--others", "--exclude-standard"},
		work: top, config: safeDirectory}
	out, err := list.output(ctx, localTimeout)
	if err != nil {
		return nil, rev, err
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, rev, err
	}
	paths := strings.FieldsFunc(string(out), func(c rune) bool { return c == 0 })
	if paths == nil {
		paths = []string{}
	}
	tree := newDiskTree(root, paths)
	id, err := tree.dirID(ctx, ".")
	if err != nil {
		root.Close()
		return nil, rev, err
	}
	rev.Dirty = id != rev.Tree
	rev.Tree = id
	return source.NewSnapshot(tree, source.Limits{}, nil), rev, nil
}

// locate finds the top of the working tree and its repository; gitDir is ""
// outside of Git.
func locate(ctx context.Context, dir string) (top, gitDir string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", "", err
	}
	if st, err := os.Stat(dir); err != nil {
		return "", "", err
	} else if !st.IsDir() {
		return "", "", fmt.Errorf("%s is not a directory", dir)
	}
	c := command{args: []string{"rev-parse", "--path-format=absolute", "--show-toplevel", "--git-dir"}, work: dir, config: safeDirectory}
	out, err := c.output(ctx, localTimeout)
	var failed *Error
	if errors.As(err, &failed) && strings.Contains(failed.Stderr, "not a git repository") {
		return dir, "", nil
	}
	if err != nil {
		return "", "", err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 2 {
		return "", "", fmt.Errorf("%s: not a working tree", dir)
	}
	return lines[0], lines[1], nil
}
