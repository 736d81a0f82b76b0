//go:build real

package git_test

import (
	"errors"
	"testing"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/git"
)

// TestWriteSSH pushes through OpenSSH's sshd, with the repository's own key.
func TestWriteSSH(t *testing.T) {
	srv := gitserver.StartSSH(t)
	cred := source.Credentials{SSHKey: secret.New(srv.Key), KnownHosts: srv.KnownHosts}
	r, m, base := writable(t, func(dir string) source.Options { return source.Options{URL: srv.URL(dir), Credentials: cred} })
	checkWriting(t, r, m, base)
	cred.SSHKey = secret.New(srv.OtherKey)
	other, err := git.Open(t.Context(), t.TempDir(), source.Options{URL: srv.URL(r.Dir), Credentials: cred})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.RemoteBranch(t.Context(), "main"); !errors.Is(err, source.ErrAuth) {
		t.Errorf("another key: %v", err)
	}
}
