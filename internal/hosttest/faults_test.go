//go:build real

package hosttest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/sshhosts"
	"trueup.dev/trueup/internal/store"
)

const plainManifest = `version: 1
targets:
  - {name: app, environment: hosts, path: app}
`

// noise is a text that does not shrink, of some megabytes.
func noise(seed uint64, megabytes int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, megabytes<<20)
	for i := 0; i+8 <= len(b); i += 8 {
		x := r.Uint64()
		for k := range 8 {
			b[i+k] = byte(x >> (8 * k))
		}
	}
	return string(b)
}

// staged tells whether something larger than a few bytes is on its way into a
// directory of a host.
func staged(h *sshhosts.Host, dir string) bool {
	pid, err := h.PID()
	if err != nil {
		return false
	}
	found, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root%s/.trueup-*/*", pid, dir))
	for _, f := range found {
		if info, err := os.Stat(f); err == nil && info.Size() > 4096 {
			return true
		}
	}
	return false
}

// TestCutOffInTheMiddleOfATransfer kills the sshd of one host, and pulls the
// cable of another, while a large file is on its way. What is there stays
// whole, the record is true, and both converge later.
func TestCutOffInTheMiddleOfATransfer(t *testing.T) {
	w := newWorld(t, 3)
	killed, cut, fine := w.lab.Hosts[0], w.lab.Hosts[1], w.lab.Hosts[2]
	const path = "/srv/big/data"
	first, second := noise(1, 40), noise(2, 40)
	c1 := w.push(map[string]string{"trueup.yaml": plainManifest, "app/data": first,
		"app/host.yaml": "directories:\n  /srv/big: {mode: \"0755\"}\nfiles:\n  /srv/big/data: {source: data}\n  /srv/big/small: {content: \"one\\n\"}\n"})
	w.start()
	w.synced(c1)
	c2 := w.push(map[string]string{"app/data": second})
	done := make(chan string, 2)
	for h, fault := range map[*sshhosts.Host]func() error{killed: killed.KillSSHD, cut: cut.DropNetwork} {
		go func() {
			for end := time.Now().Add(patience); time.Now().Before(end); {
				if staged(h, "/srv/big") {
					if err := fault(); err != nil {
						done <- err.Error()
						return
					}
					done <- ""
					return
				}
				time.Sleep(200 * time.Microsecond)
			}
			done <- h.Name + ": the transfer was never seen"
		}()
	}
	for range 2 {
		if why := <-done; why != "" {
			t.Fatal(why)
		}
	}
	whole := func(h *sshhosts.Host, text string) bool {
		b, err := h.ReadFile(path)
		return err == nil && bytes.Equal(b, []byte(text))
	}
	w.eventually("the third host has it", func() bool { return whole(fine, second) })
	w.eventually("the two are told", func() bool {
		a, b := w.scope(killed.Name), w.scope(cut.Name)
		return a.Phase != store.ScopeSynced && b.Phase != store.ScopeSynced && w.target().Status.Phase != store.Synced
	})
	for _, h := range []*sshhosts.Host{killed, cut} {
		if s := w.scope(h.Name); s.Commit != c1 || s.Message == "" {
			t.Errorf("%+v", s)
		}
		b, err := h.ReadFile(path)
		if sum := fmt.Sprintf("%x", sha256.Sum256(b)); err != nil || !whole(h, first) && !whole(h, second) {
			t.Errorf("%s has neither the old nor the new: %d bytes, %s, %v", h.Name, len(b), sum, err)
		}
	}
	if err := killed.StartSSHD(); err != nil {
		t.Fatal(err)
	}
	if err := cut.RestoreNetwork(); err != nil {
		t.Fatal(err)
	}
	w.synced(c2)
	for _, h := range w.lab.Hosts {
		if !whole(h, second) || h.Sh(t, "ls -A /srv/big") != "data\nsmall" {
			t.Errorf("%s: %s", h.Name, h.Sh(t, "ls -lA /srv/big"))
		}
	}
}

// TestWrongHostKeyIsRefused: somebody else answers at a host's address.
func TestWrongHostKeyIsRefused(t *testing.T) {
	w := newWorld(t, 3)
	stranger := w.lab.Hosts[1]
	doc := "files:\n  /etc/app.conf: {content: \"%s\\n\"}\n"
	c1 := w.push(map[string]string{"trueup.yaml": plainManifest, "app/host.yaml": fmt.Sprintf(doc, "one")})
	w.start()
	w.synced(c1)
	known, err := os.ReadFile(w.lab.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.NewHostKey(); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(w.lab.KnownHosts); err != nil || !bytes.Equal(now, known) {
		t.Fatal("known_hosts follows the stranger")
	}
	c2 := w.push(map[string]string{"app/host.yaml": fmt.Sprintf(doc, "two")})
	w.eventually("the others", func() bool { return w.everywhere("/etc/app.conf", "two", stranger) })
	w.eventually("it is refused", func() bool {
		s := w.scope(stranger.Name)
		return s.Phase == store.ScopeUnreachable && strings.Contains(strings.ToLower(s.Message), "key") && s.Commit == c1
	})
	if b, _ := stranger.ReadFile("/etc/app.conf"); string(b) != "one\n" {
		t.Errorf("the stranger was given %q", b)
	}
	for _, h := range w.lab.Hosts {
		if s := w.scope(h.Name); h != stranger && s.Commit != c2 {
			t.Errorf("%+v", s)
		}
	}
}

// TestPlantedLinkIsNotFollowed: the user who owns a directory puts links in
// the place of what trueup writes as root.
func TestPlantedLinkIsNotFollowed(t *testing.T) {
	w := newWorld(t, 2)
	bad, fine := w.lab.Hosts[0], w.lab.Hosts[1]
	doc := "files:\n  /srv/app/conf/a: {content: \"%[1]s\\n\"}\n  /srv/app/b: {content: \"%[1]s\\n\"}\n"
	c1 := w.push(map[string]string{"trueup.yaml": plainManifest, "app/host.yaml": "directories:\n  /srv/app: {mode: \"0755\"}\n  /srv/app/conf: {mode: \"0755\"}\n" + fmt.Sprintf(doc, "one")})
	w.start()
	w.synced(c1)
	bad.Sh(t, `useradd -m mallory
mkdir /etc/victim && echo safe >/etc/victim/a && echo safe >/etc/victim/b
chown mallory /srv/app
cat >/home/mallory/plant <<'EOF'
rm -rf /srv/app/conf /srv/app/b
ln -s /etc/victim /srv/app/conf
ln -s /etc/victim/b /srv/app/b
EOF
setpriv --reuid=mallory --clear-groups /bin/sh /home/mallory/plant`)
	w.push(map[string]string{"app/host.yaml": "directories:\n  /srv/app: {mode: \"0755\"}\n  /srv/app/conf: {mode: \"0755\"}\n" + fmt.Sprintf(doc, "two")})
	w.eventually("the other host", func() bool {
		b, _ := fine.ReadFile("/srv/app/conf/a")
		return string(b) == "two\n"
	})
	time.Sleep(4 * time.Second) // some retries
	if got := bad.Sh(t, "cat /etc/victim/a /etc/victim/b; ls -A /etc/victim; stat -c %U /etc/victim/a"); got != "safe\nsafe\na\nb\nroot" {
		t.Errorf("what is outside was written to:\n%s", got)
	}
}
