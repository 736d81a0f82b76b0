//go:build real

package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/servertest/gitea"
	"trueup.dev/trueup/internal/source/forge"
	giteaforge "trueup.dev/trueup/internal/source/forge/gitea"
	"trueup.dev/trueup/internal/store"
)

// giteaPull is a pull request as Gitea's own API tells it.
type giteaPull struct {
	Number int
	Title  string
	State  string
	Body   string
	Head   struct{ Ref, Sha string }
	User   struct{ Login string }
}

func giteaPulls(t *testing.T, s *gitea.Server, state string) (all []giteaPull) {
	t.Helper()
	if err := s.Admin.API("GET", "/repos/acme/infra/pulls?state="+state, nil, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// newGiteaStages is the world of two environments with its repository on a
// real Gitea, pushed to over HTTP with the credentials of the configuration.
func newGiteaStages(t *testing.T, files map[string]string, more ...func(*world)) (*world, *gitea.Server, *gitea.Account) {
	t.Helper()
	s := gitea.Start(t)
	dev, bot := s.User("dev"), s.User("trueup-bot")
	s.Org("acme")
	s.Team("acme", "developers", "write", dev)
	s.Team("acme", "machines", "admin", bot)
	s.Repo("acme/infra", files)
	t.Setenv("FORGE_TOKEN", bot.Token)
	w := newWorld(t)
	for _, d := range []string{"site/test", "site/prod"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.forges = forge.Registry{"gitea": giteaforge.Open}
	w.config = strings.NewReplacer(
		w.dir+"/origin.git", s.URL+"/acme/infra.git",
		`url: "http://forge.test", project: acme/infra`, fmt.Sprintf("url: %q", s.URL),
		"poll: 1s", "poll: 1s\n    credentials: {username: trueup-bot, token: \"env:FORGE_TOKEN\"}").
		Replace(fmt.Sprintf(stagesConfig, w.dir, onForge, ""))
	for _, m := range more {
		m(w)
	}
	w.start()
	return w, s, dev
}

// TestPromoteOnARealGitea: the pull request exists through Gitea's API, and
// merged it makes the change live.
func TestPromoteOnARealGitea(t *testing.T) {
	w, s, dev := newGiteaStages(t, map[string]string{"trueup.yaml": fmt.Sprintf(stages, ""), "test/values.yaml": shopValues("v1"), "test/db.env": "VERSION=16.1\n",
		"prod/values.yaml": shopValues("v1"), "prod/db.env": "# prod\nVERSION=16.1\n"})
	w.eventually("both synced", func() bool {
		return w.target("infra/shop-test").Status.Phase == store.Synced && w.target("infra/shop-prod").Status.Phase == store.Synced
	})
	for _, tag := range []string{"v2", "v3"} {
		commit := dev.Commit("acme/infra", "main", "", "release "+tag, map[string]string{"test/values.yaml": shopValues(tag)})
		w.synced("infra/shop-test", commit)
		out, err := w.e.Promote(context.Background(), "user:ada", testToProd)
		if err != nil || len(out) != 1 {
			t.Fatalf("%+v, %v", out, err)
		}
		all := giteaPulls(t, s, "open")
		if len(all) != 1 || all[0].Number != out[0].Number || all[0].Head.Sha != out[0].Commit || all[0].User.Login != "trueup-bot" || !strings.Contains(all[0].Body, tag) {
			t.Fatalf("%s: %+v", tag, all)
		}
	}
	if err := dev.Merge("acme/infra", giteaPulls(t, s, "open")[0].Number); err != nil {
		t.Fatal(err)
	}
	w.eventually("live in prod", func() bool { return w.file("prod/values.yaml") == shopValues("v3") })
	if out, err := w.e.Promote(context.Background(), "user:ada", edit.Promotion{From: "test", To: "prod"}); err != nil || len(out[0].Changes) != 0 {
		t.Errorf("%+v, %v", out, err)
	}
	if strings.Contains(s.Log(), os.Getenv("FORGE_TOKEN")) {
		t.Error("the token stands in the server's log")
	}
}

// TestWriteBackOnARealGitea: a live value becomes a pull request; merged, Git
// and the environment agree, and nothing more is written.
func TestWriteBackOnARealGitea(t *testing.T) {
	w, s, dev := newGiteaStages(t, map[string]string{"trueup.yaml": strings.ReplaceAll(writeBackManifest, "VIA", "pullRequest"), "web/run.sh": "#!/bin/sh\n", "web/other": "other\n"})
	w.eventually("synced", func() bool { return w.target("infra/site").Status.Phase == store.Synced })
	w.chmod(0o700)
	var pr giteaPull
	w.eventually("a pull request", func() bool {
		all := giteaPulls(t, s, "open")
		if len(all) == 1 {
			pr = all[0]
		}
		return len(all) == 1
	})
	if pr.Head.Ref != "trueup/write-back/site" || !strings.Contains(pr.Body, "0700") {
		t.Errorf("%+v", pr)
	}
	w.written("its record", func(x store.Edit) bool { return x.State == store.EditProposed && x.Number == pr.Number })
	if err := dev.Merge("acme/infra", pr.Number); err != nil {
		t.Fatal(err)
	}
	w.eventually("the record is gone", func() bool {
		_, err := w.st.Edit(context.Background(), store.LiveValues, "infra/site")
		_, err2 := w.st.Edit(context.Background(), store.WrittenBack, "infra/site")
		return err != nil && err2 != nil
	})
	w.looked()
	if w.mode() != 0o700 || len(giteaPulls(t, s, "all")) != 1 {
		t.Errorf("mode %v, %d pull requests", w.mode(), len(giteaPulls(t, s, "all")))
	}
}
