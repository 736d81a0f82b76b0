//go:build real

package engine_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/store"
)

// TestImagesOnARealGitea: a tag that is pushed becomes a pull request with
// exactly that change; a newer one brings it up to date; merged, the target
// runs it; closed, it stays closed until there is a newer one.
func TestImagesOnARealGitea(t *testing.T) {
	h := newHub(t)
	manifest := strings.ReplaceAll(strings.Replace(shopManifest, "environment: site", "environment: prod", 1), "HUB", h.host())
	base, s, dev := newGiteaStages(t, map[string]string{"trueup.yaml": manifest, "web/values.yaml": shopValues("1.2.3")}, func(w *world) {
		w.images = (&imagesWorld{world: w}).open
		w.config += fmt.Sprintf("registries:\n  acme: {url: \"oci://%s/acme\", insecure: true, username: robot, password: \"env:REGISTRY_TOKEN\", allow: infra}\n", h.host())
	})
	w := &imagesWorld{world: base, hub: h}
	only := func(state string) giteaPull {
		t.Helper()
		var all []giteaPull
		w.eventually("one "+state+" pull request", func() bool { all = giteaPulls(t, s, state); return len(all) == 1 })
		return all[0]
	}
	h.push("acme/shop", "1.2.3", "old")
	w.eventually("nothing is newer", func() bool { l := w.list(); return len(l) == 1 && l[0].State == edit.FollowedCurrent })
	digest := h.push("acme/shop", "1.2.4", "new")
	first := only("open")
	const diff = "@@ -1,5 +1,5 @@\n # the shop\n image:\n   repo: shop   # never changes\n-  tag: 1.2.3   # the tag\n+  tag: 1.2.4   # the tag\n replicas: 2\n"
	if got := pullDiff(t, s.URL, first.Number); !strings.Contains(got, diff) || strings.Count(got, "diff --git") != 1 {
		t.Errorf("%s", got)
	}
	if first.User.Login != "trueup-bot" || first.Head.Ref != "trueup/images/shop" || !strings.Contains(first.Body, digest) {
		t.Errorf("%+v", first)
	}
	h.push("acme/shop", "1.3.0", "newer")
	w.eventually("the same pull request has the newer one", func() bool {
		all := giteaPulls(t, s, "open")
		return len(all) == 1 && all[0].Number == first.Number && strings.Contains(all[0].Title, "1.3.0") && strings.Contains(pullDiff(t, s.URL, first.Number), "+  tag: 1.3.0 ")
	})
	w.update("its record", "infra/shop", isProposed)
	if err := dev.Merge("acme/infra", first.Number); err != nil {
		t.Fatal(err)
	}
	w.eventually("live", func() bool { return w.file("prod/values.yaml") == shopValues("1.3.0") })
	w.update("the merge", "infra/shop", func(x store.Edit) bool { return x.State == store.EditMerged })

	h.push("acme/shop", "1.4.0", "unwanted")
	second := only("open")
	if err := dev.API("PATCH", fmt.Sprintf("/repos/acme/infra/pulls/%d", second.Number), map[string]any{"state": "closed"}, nil); err != nil {
		t.Fatal(err)
	}
	w.update("the refusal", "infra/shop", func(x store.Edit) bool { return x.State == store.EditRefused })
	w.looked(2)
	if open := giteaPulls(t, s, "open"); len(open) != 0 {
		t.Errorf("what was refused is open again: %+v", open)
	}
	h.push("acme/shop", "1.5.0", "wanted")
	if third := only("open"); third.Number == second.Number || !strings.Contains(third.Title, "1.5.0") {
		t.Errorf("%+v", third)
	}
	if strings.Contains(s.Log(), "canary-registry-token") {
		t.Error("the registry's token stands in Gitea's log")
	}
}

func pullDiff(t *testing.T, url string, number int) string {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("%s/acme/infra/pulls/%d.diff", url, number))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %v", resp.Status, b, err)
	}
	return string(b)
}
