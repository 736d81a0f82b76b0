package registry

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	repo "helm.sh/helm/v4/pkg/repo/v1"
)

// chartRepository serves charts with an index that Helm itself makes.
func chartRepository(t *testing.T, door func(http.ResponseWriter, *http.Request) bool, baseURL string, versions ...string) (srv *httptest.Server, archives map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	archives = map[string][]byte{}
	for _, v := range versions {
		file, err := chartutil.Save(&v2.Chart{Metadata: &v2.Metadata{APIVersion: "v2", Name: "shop", Version: v, AppVersion: "app-" + v}}, dir)
		if err != nil {
			t.Fatal(err)
		}
		if archives[v], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	index, err := repo.IndexDirectory(dir, baseURL)
	if err != nil {
		t.Fatal(err)
	}
	index.SortEntries()
	if err := index.WriteFile(filepath.Join(dir, "index.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := http.StripPrefix("/stable", http.FileServer(http.Dir(dir)))
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if door == nil || !door(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv, archives
}

func TestChartsAreFetchedByDigest(t *testing.T) {
	srv, archives := chartRepository(t, basic("robot", "right"), "", "1.2.0", "1.10.0", "2.0.0-rc.1")
	s := Source{URL: srv.URL + "/stable", Insecure: true, Username: "robot", Password: "env:TOKEN"}
	passwords := vault{"env:TOKEN": "right"}
	c := client(t, Options{Sources: []Source{s}, Secret: passwords.get})
	list, err := c.ChartVersions(t.Context(), s.URL, "shop")
	if err != nil || !slices.Equal(list, []string{"2.0.0-rc.1", "1.10.0", "1.2.0"}) {
		t.Fatalf("%+v, %v", list, err)
	}
	digest, created, err := c.ChartVersion(t.Context(), s.URL, "shop", "1.10.0")
	if err != nil || digest != sumOf(archives["1.10.0"]) || created.IsZero() {
		t.Fatalf("%s %v %v", digest, created, err)
	}
	for v, want := range archives {
		got, err := c.Fetch(t.Context(), s.URL+"/", "shop", v, sumOf(want))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %d bytes, %v", v, len(got), err)
		}
	}
	_, err = c.Fetch(t.Context(), s.URL, "shop", "1.2.0", sumOf(archives["1.10.0"]))
	if !errors.Is(err, ErrContent) {
		t.Errorf("the digest of another version: %v", err)
	}
	if _, err = c.Fetch(t.Context(), s.URL, "shop", "7.0.0", sumOf(nil)); !errors.Is(err, ErrNotFound) {
		t.Errorf("a version that is not there: %v", err)
	}
	if _, err = c.ChartVersions(t.Context(), s.URL, "other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a chart that is not there: %v", err)
	}
	if _, err = c.ChartVersions(t.Context(), srv.URL, "shop"); !errors.Is(err, ErrRefused) {
		t.Errorf("above the source: %v", err)
	}
	s.Username, s.Password = "", ""
	if _, err = client(t, Options{Sources: []Source{s}}).ChartVersions(t.Context(), s.URL, "shop"); !errors.Is(err, ErrDenied) {
		t.Errorf("without a password: %v", err)
	}
}

// TestChartRepositoriesLeadNowhere: what an index or a redirect names beside
// the source is not contacted, and never gets the credentials.
func TestChartRepositoriesLeadNowhere(t *testing.T) {
	away, hits := stranger(t)
	passwords := vault{"env:TOKEN": "right"}
	fetch := func(srv *httptest.Server, archive []byte, hosts ...string) ([]byte, error) {
		s := Source{URL: srv.URL + "/stable", Insecure: true, Username: "robot", Password: "env:TOKEN", Hosts: hosts}
		return client(t, Options{Sources: []Source{s}, Secret: passwords.get}).Fetch(t.Context(), s.URL, "shop", "1.2.0", sumOf(archive))
	}
	srv, archives := chartRepository(t, nil, away+"/charts", "1.2.0")
	if _, err := fetch(srv, archives["1.2.0"]); !errors.Is(err, ErrRefused) {
		t.Errorf("a chart elsewhere: %v", err)
	}
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		srv, archives = chartRepository(t, func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, ".tgz") {
				http.Redirect(w, r, away+"/x?signature=hidden", status)
				return true
			}
			return false
		}, "", "1.2.0")
		_, err := fetch(srv, archives["1.2.0"])
		if !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%d: a redirect elsewhere: %v", status, err)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Fatalf("the stranger got %d requests", n)
	}
	// A host that the operator names serves, without the credentials.
	var auth string
	cdn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth = r.Header.Get("Authorization")
		_, _ = w.Write(archives["1.2.0"])
	}))
	defer cdn.Close()
	srv, archives = chartRepository(t, nil, cdn.URL+"/cdn", "1.2.0")
	if _, err := fetch(srv, archives["1.2.0"], strings.TrimPrefix(cdn.URL, "http://")); err != nil || auth != "" {
		t.Errorf("a host that is named: %v, with the credentials %q", err, auth)
	}
}

func TestHostileIndexes(t *testing.T) {
	for what, body := range map[string]string{
		"no index":     "<html>",
		"no entries":   "apiVersion: v1\n",
		"aliases":      "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nentries: {shop: [*e,*e,*e,*e,*e,*e,*e]}\n",
		"wrong types":  "entries: [a]\n",
		"deep":         "entries: " + strings.Repeat("[", 100000),
		"too large":    "entries: {}\n#" + strings.Repeat("x", maxIndex),
		"other digest": "entries:\n  shop:\n    - version: 1.2.0\n      digest: " + strings.Repeat("a", 64) + "\n      urls: [x.tgz]\n",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		c := client(t, Options{Sources: []Source{{URL: srv.URL, Insecure: true}}})
		if _, err := c.Fetch(t.Context(), srv.URL, "shop", "1.2.0", sumOf([]byte(body))); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %.200v", what, err)
		}
		srv.Close()
	}
}

// TestAnIndexThatLies: the digest that is pinned counts, whatever the index and
// the archive say.
func TestAnIndexThatLies(t *testing.T) {
	want := sumOf([]byte("what was reviewed"))
	for what, digest := range map[string]string{"none": "", "the pinned one": want[7:]} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "index.yaml") {
				_, _ = w.Write([]byte("entries: {shop: [{version: 1.2.0, digest: \"" + digest + "\", urls: [x.tgz]}]}"))
				return
			}
			_, _ = w.Write([]byte("something else"))
		}))
		c := client(t, Options{Sources: []Source{{URL: srv.URL, Insecure: true}}})
		if b, err := c.Fetch(t.Context(), srv.URL, "shop", "1.2.0", want); !errors.Is(err, ErrContent) {
			t.Errorf("the index has %s: %q, %v", what, b, err)
		}
		srv.Close()
	}
}
