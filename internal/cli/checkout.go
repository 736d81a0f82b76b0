package cli

import (
	"context"
	"os/exec"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/git"
)

// checkout is a working tree, or one commit of its repository.
type checkout struct {
	snapshot *source.Snapshot
	revision source.Revision
	// remote is where it was cloned from, "" when it was not.
	remote string
}

// openCheckout reads a checkout; an empty ref is the working tree.
func openCheckout(ctx context.Context, dir, ref string) (*checkout, error) {
	snap, rev, err := git.Worktree(ctx, dir, ref)
	if err != nil {
		return nil, err
	}
	return &checkout{snapshot: snap, revision: rev, remote: remoteURL(ctx, dir)}, nil
}

// remoteURL gives the URL of origin. It only helps to find the repository's
// name, so that one that can't be found is no error.
func remoteURL(ctx context.Context, dir string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "config", "--get", "remote.origin.url").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
