//go:build real

package ssh_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/servertest/sshhosts"
)

func archive(t *testing.T, version string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range [][2]string{{"app-" + version + "/bin/app", "#!/bin/sh\necho " + version + "\n"}, {"app-" + version + "/share/data", strings.Repeat(version, 1000)}} {
		if err := w.WriteHeader(&tar.Header{Name: f[0], Size: int64(len(f[1])), Mode: 0o755, Uid: 4711}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// serve answers on an address that hosts can reach too.
func serve(t *testing.T, addr string, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", addr+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// TestArtefacts: archives and binaries by URL, fetched by trueup once for all
// hosts or by the host itself; checked, switched in one step, the last ones kept.
func TestArtefacts(t *testing.T) {
	b := newLab(t, sshhosts.Debian, sshhosts.Debian)
	files := map[string][]byte{}
	for i := range 6 {
		files[fmt.Sprintf("/app-%d.tar", i)] = archive(t, fmt.Sprint(i))
	}
	files["/tool"] = []byte("#!/bin/sh\necho tool\n")
	var asked atomic.Int64
	base := serve(t, b.lab.Gateway, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(body)
	}))
	doc := func(i int) {
		f := fmt.Sprintf("/app-%d.tar", i)
		b.doc(fmt.Sprintf("artefacts:\n  /opt/app: {url: '%s%s', sha256: %s, strip: 1, keep: 3}\n  /opt/tool: {url: '%s/tool', sha256: %s, fetch: host}\n",
			base, f, sumOf(files[f]), base, sumOf(files["/tool"])))
	}
	doc(0)
	if _, err := b.tryPlan(); err == nil || !strings.Contains(err.Error(), "connect.artefacts") {
		t.Fatalf("a source that nobody allowed: %v", err)
	}
	b.connect.Artefacts = []string{base + "/"}
	b.sync()
	b.expect("/opt/app/current/bin/app; /opt/tool/current/tool; stat -c %u:%a /opt/app/current/bin/app; readlink /opt/app/current | cut -d / -f 1", "0\ntool\n0:755\nreleases")
	if n := asked.Load(); n != 3 {
		t.Errorf("%d requests: trueup fetches once, each of two hosts once", n)
	}
	for i := 1; i < 6; i++ {
		doc(i)
		b.sync()
		b.expect("/opt/app/current/bin/app", fmt.Sprint(i))
	}
	b.expect("ls /opt/app/releases | grep -vc sums; ls -A /opt/app | sort", "3\ncurrent\nreleases")

	// Files changed by hand, and a link led elsewhere.
	b.on("echo 'echo evil' >>/opt/app/current/bin/app")
	if c := change(t, b.plan(), "artefact:/opt/app"); c.Reason != plan.ByDrift {
		t.Fatalf("%+v", c)
	}
	b.sync()
	b.expect("/opt/app/current/bin/app", "5")
	b.on("ln -sfn /tmp /opt/app/current")
	b.sync()
	b.expect("/opt/app/current/bin/app", "5")

	// Another content than its sum says: nothing is switched.
	files["/app-6.tar"] = archive(t, "6")
	doc(6)
	files["/app-6.tar"] = archive(t, "evil")
	bad, err := b.apply()
	if err != nil || len(bad) != 1 || !strings.Contains(bad["artefact:/opt/app"].Error, "it has the sum") {
		t.Fatalf("%v %+v", err, bad)
	}
	b.expect("/opt/app/current/bin/app; ls -A /opt/app | sort", "5\ncurrent\nreleases")

	b.doc("files:\n  /etc/x: {content: x}\n")
	b.sync()
	b.expect("ls -A /opt/app /opt/tool", "/opt/app:\n\n/opt/tool:")
}

// TestOCIArtefacts: the one layer of an artefact in a registry.
func TestOCIArtefacts(t *testing.T) {
	b := newLab(t, sshhosts.Debian)
	base := serve(t, "127.0.0.1", registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	at := strings.TrimPrefix(base, "http://")
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer(archive(t, "oci"), types.MediaType("application/vnd.acme.app.tar")))
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(at + "/acme/app:1.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	b.connect.Artefacts = []string{"oci://" + at + "/acme/"}
	b.doc(fmt.Sprintf("artefacts:\n  /opt/app: {oci: '%s/acme/app:1.0@%s', name: app.tar, strip: 1}\n", at, digest))
	b.sync()
	b.expect("/opt/app/current/bin/app", "oci")
}
