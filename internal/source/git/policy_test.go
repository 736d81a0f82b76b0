package git_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/servertest/gitserver"
	"trueup.dev/trueup/internal/source"
	"trueup.dev/trueup/internal/source/git"
)

func TestForcePushIsRefused(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("a", "1").Commit("one")
	two := r.Write("a", "2").Commit("two")
	dir := filepath.Join(t.TempDir(), "m")
	m := open(t, dir, source.Options{URL: r.Dir})
	fetch(t, m)
	if _, err := m.Resolve(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Git("reset", "--quiet", "--hard", "HEAD~1")
	forced := r.Write("a", "3").Commit("three")
	if !fetch(t, m) {
		t.Error("the force push was not fetched")
	}
	check := func(m *git.Mirror, what string) {
		t.Helper()
		if _, err := m.Resolve(t.Context()); !errors.Is(err, source.ErrRewound) || !strings.Contains(err.Error(), two[:12]) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check(m, "force push")
	check(open(t, dir, source.Options{URL: r.Dir}), "after a restart")
	// A mirror that was lost refuses too, with what the caller remembers.
	lost := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir, Accepted: two})
	fetch(t, lost)
	check(lost, "after the mirror was lost")
	loose := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir, Accepted: two, Rewind: source.FollowRewind})
	fetch(t, loose)
	if rev, err := loose.Resolve(t.Context()); err != nil || rev.Commit != forced {
		t.Errorf("follow: %v %v", rev, err)
	}
	if err := m.Accept(t.Context(), forced); err != nil {
		t.Fatal(err)
	}
	if rev, err := m.Resolve(t.Context()); err != nil || rev.Commit != forced {
		t.Errorf("accepted: %v %v", rev, err)
	}
}

func TestDeletedBranchKeepsTheLastCommit(t *testing.T) {
	r := gitserver.NewRepo(t)
	c := r.Write("a", "1").Commit("one")
	r.Git("branch", "prod")
	m := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir, Follow: source.Follow{Branch: "prod"}})
	fetch(t, m)
	r.Git("branch", "-D", "prod")
	if _, err := m.Fetch(t.Context()); !errors.Is(err, source.ErrNoRef) {
		t.Errorf("fetch: %v", err)
	}
	if rev, err := m.Resolve(t.Context()); err != nil || rev.Commit != c {
		t.Errorf("%v %v", rev, err)
	}
}

func TestTagsInVersionOrder(t *testing.T) {
	r := gitserver.NewRepo(t)
	for _, tag := range []string{"v1.9.0", "v1.10.0", "v2.0.0-rc.1", "v2.0.0", "nonsense"} {
		r.Write("a", tag).Commit(tag)
		r.Git("tag", "-a", "-m", tag, tag)
	}
	follow := func(p string) *git.Mirror {
		m := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir, Follow: source.Follow{TagPattern: p}})
		fetch(t, m)
		return m
	}
	m := follow("^1")
	rev, err := m.Resolve(t.Context())
	if err != nil || rev.Tag != "v1.10.0" || rev.Ref != "refs/tags/v1.10.0" || rev.Commit != r.Git("rev-parse", "v1.10.0^{commit}") {
		t.Fatalf("%+v %v", rev, err)
	}
	r.Git("tag", "-a", "-f", "-m", "moved", "v1.10.0", "main")
	fetch(t, m)
	if _, err := m.Resolve(t.Context()); !errors.Is(err, source.ErrRewound) {
		t.Errorf("moved tag: %v", err)
	}
	r.Git("tag", "-d", "v1.10.0")
	fetch(t, m)
	if _, err := m.Resolve(t.Context()); !errors.Is(err, source.ErrRewound) {
		t.Errorf("removed tag: %v", err)
	}
	r.Git("tag", "v1.11.0", "main")
	fetch(t, m)
	if rev, err := m.Resolve(t.Context()); err != nil || rev.Tag != "v1.11.0" {
		t.Errorf("%+v %v", rev, err)
	}
	if _, err := follow("^9").Resolve(t.Context()); !errors.Is(err, source.ErrNoRef) {
		t.Errorf("no tag: %v", err)
	}
}

func TestDefaultBranch(t *testing.T) {
	r := gitserver.NewRepo(t)
	r.Write("a", "1").Commit("one")
	r.Git("checkout", "--quiet", "-b", "trunk")
	m, err := git.Open(t.Context(), filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, body := range []string{"2", "3"} {
		c := r.Write("a", body).Commit(body)
		if !fetch(t, m) || fetch(t, m) {
			t.Error("changed is wrong")
		}
		if rev, err := m.Resolve(t.Context()); err != nil || rev.Commit != c || rev.Ref != "HEAD" {
			t.Errorf("%+v %v", rev, err)
		}
	}
}

func TestFixedCommit(t *testing.T) {
	r := gitserver.NewRepo(t)
	a := r.Write("a", "1").Commit("one")
	r.Write("a", "2").Commit("two")
	m := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir, Follow: source.Follow{Commit: a}})
	if !fetch(t, m) || fetch(t, m) {
		t.Error("changed is wrong")
	}
	if rev, err := m.Resolve(t.Context()); err != nil || rev.Commit != a {
		t.Errorf("%v %v", rev, err)
	}
}

// signers makes an ssh key and returns its private file and public line.
func sshKey(t *testing.T) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen is missing; install it (Debian: apt-get install openssh-client): %v %s", err, out)
	}
	b, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, string(b)
}

func signWithSSH(r *gitserver.Repo, key string) {
	r.Git("config", "gpg.format", "ssh")
	r.Git("config", "user.signingKey", key)
	r.Git("config", "commit.gpgSign", "true")
}

func TestSSHSignatures(t *testing.T) {
	key, public := sshKey(t)
	otherKey, _ := sshKey(t)
	r := gitserver.NewRepo(t)
	signWithSSH(r, key)
	r.Write("a", "1").Commit("signed")
	dir := filepath.Join(t.TempDir(), "m")
	policy := &source.SignaturePolicy{SSHKeys: []string{"# who may\n\n" + public}}
	m := open(t, dir, source.Options{URL: r.Dir, Signatures: policy})
	all := open(t, filepath.Join(t.TempDir(), "all"), source.Options{URL: r.Dir, Signatures: &source.SignaturePolicy{SSHKeys: policy.SSHKeys, Verify: source.VerifyAll}})
	resolve := func(m *git.Mirror) error {
		fetch(t, m)
		rev, err := m.Resolve(t.Context())
		if err == nil && !strings.HasPrefix(rev.SignedBy, "ann SHA256:") {
			t.Errorf("signed by %q", rev.SignedBy)
		}
		return err
	}
	if err := errors.Join(resolve(m), resolve(all)); err != nil {
		t.Fatal(err)
	}
	signWithSSH(r, otherKey)
	r.Write("a", "2").Commit("by another")
	if err := resolve(m); !errors.Is(err, source.ErrUnsigned) {
		t.Errorf("another key: %v", err)
	}
	r.Git("config", "commit.gpgSign", "false")
	r.Write("a", "3").Commit("unsigned")
	if err := resolve(m); !errors.Is(err, source.ErrUnsigned) {
		t.Errorf("unsigned: %v", err)
	}
	signWithSSH(r, key)
	r.Write("a", "4").Commit("signed again")
	if err := resolve(m); err != nil {
		t.Errorf("head is signed: %v", err)
	}
	if err := resolve(all); !errors.Is(err, source.ErrUnsigned) {
		t.Errorf("an unsigned commit in between: %v", err)
	}
}

func TestForgedSignature(t *testing.T) {
	key, public := sshKey(t)
	r := gitserver.NewRepo(t)
	signWithSSH(r, key)
	r.Write("a", "1").Commit("signed")
	forged := filepath.Join(t.TempDir(), "commit")
	raw := strings.Replace(r.Git("cat-file", "commit", "HEAD"), "signed", "forged", 1) + "\n"
	if err := os.WriteFile(forged, []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Git("update-ref", "refs/heads/main", r.Git("hash-object", "-t", "commit", "-w", forged))
	m := open(t, filepath.Join(t.TempDir(), "m"), source.Options{URL: r.Dir, Signatures: &source.SignaturePolicy{SSHKeys: []string{public}}})
	fetch(t, m)
	if _, err := m.Resolve(t.Context()); !errors.Is(err, source.ErrUnsigned) || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v", err)
	}
}

func TestSignedTags(t *testing.T) {
	key, public := sshKey(t)
	r := gitserver.NewRepo(t)
	r.Write("a", "1").Commit("one")
	r.Git("config", "gpg.format", "ssh")
	r.Git("config", "user.signingKey", key)
	r.Git("tag", "-s", "-m", "one", "v1.0.0")
	opt := source.Options{URL: r.Dir, Follow: source.Follow{TagPattern: ">=1"}, Signatures: &source.SignaturePolicy{SSHKeys: []string{public}}}
	m := open(t, filepath.Join(t.TempDir(), "m"), opt)
	fetch(t, m)
	if rev, err := m.Resolve(t.Context()); err != nil || rev.SignedBy == "" {
		t.Errorf("%+v %v", rev, err)
	}
	for _, args := range [][]string{{"tag", "-a", "-m", "unsigned", "v1.1.0"}, {"tag", "v1.2.0"}} {
		r.Git(args...)
		fetch(t, m)
		if _, err := m.Resolve(t.Context()); !errors.Is(err, source.ErrUnsigned) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, opt := range map[string]source.Options{
		"ext":           {URL: "ext::sh -c touch% /tmp/x"},
		"option":        {URL: "--upload-pack=touch /tmp/x"},
		"ssh option":    {URL: "ssh://-oProxyCommand=x/y"},
		"scp option":    {URL: "-oProxyCommand=x:y"},
		"git protocol":  {URL: "git://example.com/x"},
		"password":      {URL: "https://u:hunter2@example.com/x"},
		"token as user": {URL: "https://hunter2@example.com/x"},
		"control":       {URL: "https://example.com/\nx"},
		"branch":        {URL: "/x", Follow: source.Follow{Branch: "--exec"}},
		"dots":          {URL: "/x", Follow: source.Follow{Branch: "a..b"}},
		"short commit":  {URL: "/x", Follow: source.Follow{Commit: "abc1234"}},
		"both":          {URL: "/x", Follow: source.Follow{Branch: "a", TagPattern: "*"}},
		"no key":        {URL: "/x", Signatures: &source.SignaturePolicy{}},
		"pattern":       {URL: "/x", Follow: source.Follow{TagPattern: ">= nonsense"}},
	} {
		if opt.Follow == (source.Follow{}) {
			opt.Follow.Branch = "main"
		}
		_, err := git.Open(t.Context(), filepath.Join(t.TempDir(), "m"), opt)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
