//go:build real

package hosttest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/sshhosts"
	"trueup.dev/trueup/internal/store"
)

const manifest = `version: 1
targets:
  - name: app
    environment: hosts
    path: app
    rollout: {batch: [1, 20%%, 50%%], order: [canary], before: drain, after: undrain%s}
    health: [{http: "%s/{{ .host }}", within: 2s}]
    onFailure: rollback
`

const document = `directories:
  /srv/app: {mode: "0755"}
files:
  /srv/app/version: {source: version}
  /etc/app.conf: {template: app.conf, mode: "0640"}
  /etc/systemd/system/app.service: {source: app.service}
trees:
  /srv/app/static: {source: static}
users:
  app: {system: true, home: /srv/app, shell: /usr/sbin/nologin}
`

func (w *world) app(version string, more string) map[string]string {
	return map[string]string{"trueup.yaml": fmt.Sprintf(manifest, more, w.health), "app/host.yaml": document, "app/version": version + "\n",
		"app/app.conf": "name={{ .host.name }}\ncolor={{ .color }}\n", "app/app.service": "[Service]\nExecStart=/srv/app/run\n",
		"app/static/index.html": "<h1>one</h1>\n", "app/static/css/app.css": "h1 {}\n"}
}

// TestFiftyHosts is the life of an application on fifty hosts: deployed,
// changed by hand, broken, rolled back, with hosts that are down and cut off.
func TestFiftyHosts(t *testing.T) {
	w := newWorld(t, 50)
	hosts := w.lab.Hosts
	for _, h := range hosts {
		h.Sh(t, "mkdir -p /srv/app/static && echo theirs >/srv/app/static/theirs && echo theirs >/etc/theirs.conf")
	}
	c1 := w.push(w.app("v1", ""))
	w.start()
	w.synced(c1)

	t.Run("deployed", func(t *testing.T) {
		for i, h := range hosts {
			want := fmt.Sprintf("v1\nname=%s\ncolor=c%d\n640\n[Service]\nExecStart=/srv/app/run\n<h1>one</h1>\nh1 {}\napp:/srv/app:/usr/sbin/nologin", h.Name, i)
			got := h.Sh(t, "cat /srv/app/version /etc/app.conf; stat -c %a /etc/app.conf; cat /etc/systemd/system/app.service "+
				"/srv/app/static/index.html /srv/app/static/css/app.css; getent passwd app | cut -d: -f1,6,7")
			if got != want {
				t.Errorf("%s has\n%s\nnot\n%s", h.Name, got, want)
			}
		}
	})
	t.Run("drained in order", func(t *testing.T) {
		calls := w.calls()
		if len(calls) != 100 || calls[0] != "drain_"+hosts[0].Name || calls[1] != "undrain_"+hosts[0].Name {
			t.Fatalf("%d calls: %v", len(calls), calls[:4])
		}
		for _, h := range hosts {
			d, u := slices.Index(calls, "drain_"+h.Name), slices.Index(calls, "undrain_"+h.Name)
			if d < 0 || u < d {
				t.Errorf("%s: drained at %d, put back at %d", h.Name, d, u)
			}
		}
		// Never more than a batch is out of service.
		out, most := 0, 0
		for _, c := range calls {
			if strings.HasPrefix(c, "drain_") {
				out++
			} else {
				out--
			}
			most = max(most, out)
		}
		if most > 25 || out != 0 {
			t.Errorf("%d hosts were out of service at once, %d are left so", most, out)
		}
	})
	t.Run("drift on three", func(t *testing.T) { w.driftOnThree(t) })
	t.Run("prune spares what others own", func(t *testing.T) {
		files := w.app("v2", "")
		files["app/static/css/app.css"] = ""
		w.synced(w.push(files))
		for _, h := range hosts {
			got := h.Sh(t, "ls /srv/app/static; cat /srv/app/static/theirs /etc/theirs.conf; test ! -e /srv/app/static/css/app.css && echo gone")
			if got != "index.html\ntheirs\ntheirs\ntheirs\ngone" {
				t.Errorf("%s: %q", h.Name, got)
			}
		}
	})
	t.Run("a failing batch is rolled back", func(t *testing.T) { w.failingBatch(t) })
	t.Run("five hosts down", func(t *testing.T) { w.fiveDown(t) })
	t.Run("a plan for fifty is read like one", func(t *testing.T) {
		w.kill()
		files := w.app("v5", "")
		delete(files, "app/static/css/app.css")
		w.push(files)
		out, err := w.command("plan", "app", "--dir", w.git, "--break-glass", "reading").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "50 scopes: host[1-50]") || strings.Count(string(out), "/srv/app/version") != 1 {
			t.Errorf("%v\n%s", err, out)
		}
		w.start()
		w.eventually("v5", func() bool { return w.everywhere("/srv/app/version", "v5") })
	})
	t.Run("killed in the middle", func(t *testing.T) { w.killedInTheMiddle(t) })
}

func (w *world) driftOnThree(t *testing.T) {
	three := []*sshhosts.Host{w.lab.Hosts[4], w.lab.Hosts[20], w.lab.Hosts[49]}
	before := len(w.calls())
	three[0].Sh(t, "echo by hand >/etc/app.conf")
	three[1].Sh(t, "rm /srv/app/static/index.html")
	three[2].Sh(t, "chmod 777 /etc/app.conf; echo more >>/srv/app/version")
	w.eventually("drift corrected", func() bool {
		a, _ := three[0].ReadFile("/etc/app.conf")
		b, _ := three[1].ReadFile("/srv/app/static/index.html")
		return strings.HasPrefix(string(a), "name=") && string(b) == "<h1>one</h1>\n" && three[2].Sh(t, "stat -c %a /etc/app.conf; cat /srv/app/version") == "640\nv1"
	})
	w.eventually("put back", func() bool { return len(w.calls())-before >= 6 && len(w.calls())%2 == 0 })
	for _, c := range w.calls()[before:] {
		_, name, _ := strings.Cut(c, "_")
		if !slices.ContainsFunc(three, func(h *sshhosts.Host) bool { return h.Name == name }) {
			t.Errorf("%s, which had not changed", c)
		}
	}
}

func (w *world) failingBatch(t *testing.T) {
	good := w.target().Status.Applied
	sick := w.lab.Hosts[5] // in the second batch: the canary, then ten
	files := w.app("v3\nsick on "+sick.Name, "")
	delete(files, "app/static/css/app.css")
	files["app/static/new.html"] = "new\n"
	bad := w.push(files)
	w.eventually("stopped", func() bool {
		s := w.target().Status
		return s.Stopped != "" && s.Phase == store.Failing && w.count()[store.ScopeRolledBack] == 10
	})
	for i, h := range w.lab.Hosts {
		b, err := h.ReadFile("/srv/app/version")
		if err != nil {
			t.Fatal(err)
		}
		_, there := h.ReadFile("/srv/app/static/new.html")
		s := w.scope(h.Name)
		switch {
		case i == 0:
			if !strings.HasPrefix(string(b), "v3") || there != nil || s.Commit != bad {
				t.Errorf("the canary has %q, %v, %+v", b, there, s)
			}
		default:
			if string(b) != "v2\n" || there == nil || s.Commit != good {
				t.Errorf("%s has %q, new.html %v, %+v", h.Name, b, there, s)
			}
		}
	}
	// Neither drift checks nor time give it to the rest.
	time.Sleep(5 * time.Second)
	if on := w.on("/srv/app/version"); len(on["v2"]) != 49 {
		t.Errorf("after a while: %v", on)
	}
	calls := w.calls()
	if n := len(calls); n%2 != 0 {
		t.Errorf("%d calls: something is left drained", n)
	}
	files = w.app("v4", "")
	delete(files, "app/static/css/app.css")
	files["app/static/new.html"] = ""
	w.synced(w.push(files))
	if !w.everywhere("/srv/app/version", "v4") {
		t.Errorf("%v", w.on("/srv/app/version"))
	}
}

func (w *world) fiveDown(t *testing.T) {
	down := w.lab.Hosts[10:15]
	for _, h := range down {
		if err := h.KillSSHD(); err != nil {
			t.Fatal(err)
		}
	}
	files := w.app("v4b", "")
	delete(files, "app/static/css/app.css")
	c := w.push(files)
	w.eventually("the others", func() bool { return w.everywhere("/srv/app/version", "v4b", down...) })
	w.eventually("five are told", func() bool {
		n := w.count()
		return n[store.ScopeUnreachable] == 5 && n[store.ScopeSynced] == 45 && w.target().Status.Phase == store.Partial
	})
	if m := w.target().Status.Message; !strings.Contains(m, "45 of 50 hosts are at "+c[:12]) {
		t.Error(m)
	}
	if out := w.must("get", "hosts", "infra/app", "--phase", "unreachable"); strings.Count(out, "\n") != 6 || !strings.Contains(out, down[4].Name) {
		t.Error(out)
	}
	for _, h := range down {
		if b, _ := h.ReadFile("/srv/app/version"); string(b) != "v4\n" {
			t.Errorf("%s has %q", h.Name, b)
		}
		if err := h.StartSSHD(); err != nil {
			t.Fatal(err)
		}
	}
	w.synced(c)
	if !w.everywhere("/srv/app/version", "v4b") {
		t.Errorf("%v", w.on("/srv/app/version"))
	}
}

// killedInTheMiddle kills the server with SIGKILL while batches are under way.
func (w *world) killedInTheMiddle(t *testing.T) {
	files := w.app("v6", ", pause: 2s")
	delete(files, "app/static/css/app.css")
	c := w.push(files)
	w.eventually("status shows how far it is", func() bool {
		out, _ := w.cli("status")
		return strings.Contains(out, "Rollout: infra/app: batch ") && strings.Contains(out, " of 50 hosts")
	})
	kills := 0
	w.eventually("v6 everywhere", func() bool {
		n := len(w.on("/srv/app/version")["v6"])
		if kills < 3 && n > kills*10 {
			w.kill()
			kills++
			w.start()
		}
		return n == 50
	})
	w.synced(c)
	if kills < 3 {
		t.Errorf("it was killed %d times only", kills)
	}
	last := map[string]string{}
	b, err := os.ReadFile(w.dir + "/calls")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		verb, host, _ := strings.Cut(line, " ")
		last[host] = verb
	}
	for host, verb := range last {
		if verb != "undrain" {
			t.Errorf("%s was left drained", host)
		}
	}
}
