//go:build real

package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/gitea"
	"trueup.dev/trueup/internal/source/forge"
	giteaforge "trueup.dev/trueup/internal/source/forge/gitea"
)

// The fake forge of the other tests is held against a real one: the same way
// from proposal to outcome.
func TestPullRequestOnARealGitea(t *testing.T) {
	s := gitea.Start(t)
	dev, alice, mallory, bot := s.User("dev"), s.User("alice"), s.User("mallory"), s.User("trueup-bot")
	s.Org("acme")
	s.Team("acme", "developers", "write", dev, alice)
	s.Team("acme", "machines", "admin", bot)
	repo := s.Repo("acme/infra", many(3))
	t.Setenv("FORGE_TOKEN", bot.Token)
	w := newWorld(t)
	w.forges = forge.Registry{"gitea": giteaforge.Open}
	w.config = strings.NewReplacer(
		w.dir+"/origin.git", s.URL+"/acme/infra.git",
		`url: "http://forge.test", project: acme/infra`, fmt.Sprintf("url: %q", s.URL),
		"poll: 1s", "poll: 1s\n    credentials: {username: trueup-bot, token: \"env:FORGE_TOKEN\"}").
		Replace(fmt.Sprintf(pullConfig, w.dir, "", "approve: [{when: \"pull > 0\", by: [\"team:sre\"]}, {by: auto}]"))
	w.start()
	w.eventually("synced", func() bool { return w.file("f001") != "" && w.target("infra/site").Status.Phase == "synced" })

	head := dev.Commit(repo, "main", "change", "add a file", map[string]string{"web/new": "hello\n"})
	n := dev.Pull(repo, "change", "main", "Add a file")
	status := func(commit, context string) string {
		var all struct {
			Statuses []struct{ Context, Status string }
		}
		if err := s.Admin.API("GET", "/repos/acme/infra/commits/"+commit+"/status", nil, &all); err != nil {
			t.Fatal(err)
		}
		for _, x := range all.Statuses {
			if x.Context == context {
				return x.Status
			}
		}
		return ""
	}
	comments := func() (all []struct {
		ID   int64
		Body string
		User struct{ Login string }
	}) {
		if err := s.Admin.API("GET", fmt.Sprintf("/repos/acme/infra/issues/%d/comments", n), nil, &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	w.eventually("plan status", func() bool { return status(head, "trueup/plan") == "success" })
	w.eventually("plan comment", func() bool {
		all := comments()
		return len(all) == 1 && all[0].User.Login == "trueup-bot" && strings.Contains(all[0].Body, "+ new") && strings.Contains(all[0].Body, "needs approval")
	})
	say := func(who *gitea.Account, text string) {
		if err := who.API("POST", fmt.Sprintf("/repos/acme/infra/issues/%d/comments", n), map[string]string{"body": text}, nil); err != nil {
			t.Fatal(err)
		}
	}
	say(mallory, "trueup approve site")
	w.eventually("refused", func() bool {
		all := comments()
		return strings.Contains(all[len(all)-1].Body, "trueup approve site") && all[len(all)-1].User.Login == "trueup-bot"
	})
	time.Sleep(1100 * time.Millisecond) // times on the forge have seconds
	say(alice, "trueup approve site")
	w.eventually("approved", func() bool { return strings.Contains(comments()[0].Body, "approved by `user:alice`") })
	if err := dev.Merge(repo, n); err != nil {
		t.Fatal(err)
	}
	w.eventually("applied", func() bool { return w.file("new") == "hello\n" })
	commit := w.target("infra/site").Desired.Commit
	w.eventually("apply status", func() bool { return status(commit, "trueup/apply") == "success" })
	w.eventually("outcome", func() bool {
		return strings.Contains(comments()[0].Body, "### trueup apply") && strings.Contains(comments()[0].Body, "| applied")
	})
	w.eventually("origin of the run", func() bool {
		run, err := w.st.Run(context.Background(), w.target("infra/site").Status.Run)
		return err == nil && run.Origin != nil && run.Origin.Proposed.Login == "dev" && run.Origin.Number == n && run.Origin.Merged.Login == "dev"
	})
}
