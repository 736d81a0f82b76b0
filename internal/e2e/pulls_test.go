//go:build real

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

const zonePath = "dns/example.test.zone"

// TestPullRequestsOnGitea is one story on one repository, told step by step.
// Everything is looked at where it happens: Gitea's API, dig.
func TestPullRequestsOnGitea(t *testing.T) {
	w := newWorld(t, "infra", "30s")
	for _, step := range []struct {
		name string
		run  func(*world)
	}{
		{"self-service", selfService},
		{"by hand", byHand},
		{"second push", secondPush},
		{"approval", approval},
		{"review", review},
		{"mass deletion", massDeletion},
		{"mistake", mistake},
		{"fork", fork},
		{"no target", noTarget},
		{"before the merge", beforeTheMerge},
		{"missed webhook", missedWebhook},
		{"audit", auditTrail},
		{"secrets", noSecrets},
	} {
		ok := t.Run(step.name, func(t *testing.T) {
			w.t, w.trueup.t = t, t
			step.run(w)
		})
		w.t, w.trueup.t = t, t
		if !ok {
			break
		}
	}
}

// selfService: a team adds a record to its own names in the web editor; the
// rule lets it pass, the merge makes it live.
func selfService(w *world) {
	number, head := w.propose(w.paul, "api", "Add api.team-a", map[string]string{
		zonePath: zone([]string{"www.team-a A 192.0.2.100", "api.team-a A 192.0.2.101"}, 20)})
	opened := time.Now()
	w.comment(number, head[:8], "api.team-a.example.test./A", "1 to create")
	w.t.Logf("from opening the pull request to its plan: %s", time.Since(opened).Round(10*time.Millisecond))
	w.hasStatus(head, "trueup/plan", "success")
	if err := w.answers("api.team-a", ""); err != nil {
		w.t.Fatal("planned, and already there: ", err)
	}
	merging := time.Now()
	commit := w.merge(w.paul, number)
	eventually(w.t, "the record answers", func() error { return w.answers("api.team-a", "192.0.2.101") })
	w.t.Logf("from the merge to the answer of the DNS server: %s", time.Since(merging).Round(10*time.Millisecond))
	w.hasStatus(commit, "trueup/apply", "success")
	w.comment(number, "applied")
}

// byHand does what trueup did a moment ago with git fetch and nsupdate, for the
// time it takes.
func byHand(w *world) {
	repo := w.forge.Repo("acme/byhand", map[string]string{"record": "by-hand.hand.test. 300 A 192.0.2.200\n"})
	w.forge.Collaborate(repo, w.paul, "write")
	clone := w.t.TempDir()
	git := func(args ...string) string {
		w.t.Helper()
		out, err := exec.Command("git", append([]string{"-C", clone}, args...)...).Output()
		if err != nil {
			w.t.Fatal(args, err)
		}
		return string(out)
	}
	git("clone", "-q", w.paul.CloneURL(repo), ".")
	w.paul.Commit(repo, "main", "change", "Change", map[string]string{"record": "by-hand.hand.test. 300 A 192.0.2.201\n"})
	number := w.paul.Pull(repo, "change", "main", "Change")
	merging := time.Now()
	if err := w.paul.Merge(repo, number); err != nil {
		w.t.Fatal(err)
	}
	git("fetch", "-q", "origin")
	if err := w.dns.NSUpdate(w.dns.Key, "zone hand.test\nupdate add "+git("show", "origin/main:record")+"send\n"); err != nil {
		w.t.Fatal(err)
	}
	if out, err := w.dns.Dig("+short", "by-hand.hand.test", "A"); err != nil || strings.TrimSpace(out) != "192.0.2.201" {
		w.t.Fatal(out, err)
	}
	w.t.Logf("by hand, from the merge to the answer of the DNS server: %s", time.Since(merging).Round(10*time.Millisecond))
}

// secondPush: the same comment follows the head, and the status is the new
// head's; the branch can't be merged before.
func secondPush(w *world) {
	number, head := w.propose(w.paul, "mail", "Add mail.team-a", map[string]string{
		zonePath: zone([]string{"www.team-a A 192.0.2.100", "api.team-a A 192.0.2.101", "mail.team-a A 192.0.2.102"}, 20)})
	first := w.comment(number, head[:8], "mail.team-a.example.test./A")
	w.hasStatus(head, "trueup/plan", "success")
	second := w.paul.Commit(w.repo, "mail", "", "Another address", map[string]string{
		zonePath: zone([]string{"www.team-a A 192.0.2.100", "api.team-a A 192.0.2.101", "mail.team-a A 192.0.2.103"}, 20)})
	again := w.comment(number, second[:8], "192.0.2.103")
	if again.ID != first.ID || len(w.said(number)) != 1 {
		w.t.Errorf("comment %d became %d, there are %d", first.ID, again.ID, len(w.said(number)))
	}
	if strings.Contains(again.Body, "192.0.2.102") {
		w.t.Errorf("the old plan is still shown:\n%s", again.Body)
	}
	w.hasStatus(second, "trueup/plan", "success")
	w.merge(w.paul, number)
	eventually(w.t, "the record answers", func() error { return w.answers("mail.team-a", "192.0.2.103") })
}

var teamA = []string{"www.team-a A 192.0.2.100", "api.team-a A 192.0.2.101", "mail.team-a A 192.0.2.103"}

// approval: a change beyond the team's names waits for somebody who may; the
// wrong one is told why not, and the author doesn't approve himself.
func approval(w *world) {
	number, head := w.propose(w.paul, "ftp", "Add ftp", map[string]string{zonePath: zone(teamA, 20, "ftp A 192.0.2.110")})
	w.comment(number, head[:8], "needs 1 approval by a code owner of dns/example.test.zone (@dora) or team:sre", "trueup approve ")
	w.vera.Comment(w.repo, number, "trueup approve zone")
	w.answered(number, "vera", "viewer")
	w.paul.Comment(w.repo, number, "trueup approve zone")
	w.answered(number, "paul", "leaves out who proposed or caused the change")
	w.refused(w.eve.Comment(w.repo, number, "trueup approve zone"))
	w.hasStatus(head, "trueup/plan", "success")
	commit := w.merge(w.paul, number)
	hash := w.held("needs 1 approval")
	if err := w.answers("ftp", ""); err != nil {
		w.t.Fatal("applied without the right approval: ", err)
	}
	w.hasStatus(commit, "trueup/apply", "pending")
	w.sara.Comment(w.repo, number, "trueup approve "+hash)
	eventually(w.t, "the approved record answers", func() error { return w.answers("ftp", "192.0.2.110") })
	w.hasStatus(commit, "trueup/apply", "success")
	w.comment(number, "applied")
}

// review: a code owner's review counts, given to the plan that was shown.
func review(w *world) {
	number, head := w.propose(w.paul, "ftp2", "Move ftp", map[string]string{zonePath: zone(teamA, 20, "ftp A 192.0.2.111")})
	w.comment(number, head[:8], "needs 1 approval")
	w.hasStatus(head, "trueup/plan", "success")
	w.vera.Review(w.repo, number, "APPROVED", "fine by me")
	w.dora.Review(w.repo, number, "APPROVED", "fine")
	w.comment(number, "approved by `gitea:dora`")
	if body := w.comment(number).Body; strings.Contains(body, "approved by `user:vera`") {
		w.t.Errorf("a viewer's review counts:\n%s", body)
	}
	w.merge(w.paul, number)
	eventually(w.t, "the reviewed change answers", func() error { return w.answers("ftp", "192.0.2.111") })
}

// massDeletion: over the guard nothing is deleted until exactly that plan is
// approved.
func massDeletion(w *world) {
	number, head := w.propose(w.paul, "cleanup", "Clean up", map[string]string{zonePath: zone(teamA, 3, "ftp A 192.0.2.111")})
	w.comment(number, head[:8], "would delete 17 ", "the guard allows")
	commit := w.merge(w.paul, number)
	w.held("the guard allows")
	w.hasStatus(commit, "trueup/apply", "pending")
	if err := w.answers("h15", "192.0.2.16"); err != nil {
		w.t.Fatal("deleted over the guard: ", err)
	}
	// Put back: nothing is left to do, and nothing was deleted.
	number, head = w.propose(w.paul, "back", "Put it back", map[string]string{zonePath: zone(teamA, 20, "ftp A 192.0.2.111")})
	w.hasStatus(head, "trueup/plan", "success")
	w.merge(w.paul, number)
	w.synced()
	if err := w.answers("h15", "192.0.2.16"); err != nil {
		w.t.Fatal(err)
	}
}

// mistake: the status is red and names file and line; Gitea refuses the merge
// while it is.
func mistake(w *world) {
	number, head := w.propose(w.paul, "broken", "Broken", map[string]string{zonePath: zone(teamA, 20, "ftp A 192.0.2.111", "oops A not-an-address")})
	w.hasStatus(head, "trueup/plan", "failure")
	w.comment(number, zonePath+":27")
	err := w.paul.Merge(w.repo, number)
	if err == nil {
		w.t.Fatal("merged over a required status that is red")
	}
	w.t.Logf("Gitea: %v", err)
	mended := w.paul.Commit(w.repo, "broken", "", "Mend it", map[string]string{zonePath: zone([]string{"new.team-a A 192.0.2.120"}, 20, append(teamA, "ftp A 192.0.2.111")...)})
	w.hasStatus(mended, "trueup/plan", "success")
	w.merge(w.paul, number)
	eventually(w.t, "the mended change answers", func() error { return w.answers("new.team-a", "192.0.2.120") })
	teamA = append([]string{"new.team-a A 192.0.2.120"}, teamA...)
}

// fork: a stranger's pull request isn't planned, and its status says so.
func fork(w *world) {
	from := w.eve.Fork(w.repo)
	head := w.eve.Commit(from, "main", "mine", "Take over", map[string]string{zonePath: zone(teamA, 20, "ftp A 203.0.113.66")})
	number := w.eve.Pull(w.repo, "eve:mine", "main", "From a fork")
	eventually(w.t, "a status on the fork's head", func() error {
		state, text := w.status(head, "trueup/plan")
		if state == "" || state == "pending" {
			return fmt.Errorf("%q %s", state, text)
		}
		w.t.Logf("fork: %s, %s", state, text)
		return nil
	})
	for _, c := range w.said(number) {
		if strings.Contains(c.Body, "203.0.113.66") {
			w.t.Errorf("a fork was planned:\n%s", c.Body)
		}
	}
	w.refused(w.eve.Comment(w.repo, number, "trueup apply"))
	if err := w.answers("ftp", "192.0.2.111"); err != nil {
		w.t.Fatal(err)
	}
	if err := w.forge.Admin.API("PATCH", fmt.Sprintf("/repos/%s/pulls/%d", w.repo, number), map[string]any{"state": "closed"}, nil); err != nil {
		w.t.Fatal(err)
	}
}

// noTarget: the required status is there all the same.
func noTarget(w *world) {
	number, head := w.propose(w.paul, "readme", "Words", map[string]string{"README.md": "Zones, all of them.\n"})
	w.hasStatus(head, "trueup/plan", "success")
	w.merge(w.paul, number)
}

// beforeTheMerge: applied from the pull request, the target is locked for
// others until the merge.
func beforeTheMerge(w *world) {
	number, head := w.propose(w.paul, "early", "Try early.team-a", map[string]string{zonePath: zone(append(slices.Clone(teamA), "early.team-a A 192.0.2.130"), 20, "ftp A 192.0.2.111")})
	w.hasStatus(head, "trueup/plan", "success")
	w.comment(number, head[:8])
	w.refused(w.eve.Comment(w.repo, number, "trueup apply"))
	if err := w.answers("early.team-a", ""); err != nil {
		w.t.Fatal("a stranger applied: ", err)
	}
	w.paul.Comment(w.repo, number, "trueup apply")
	eventually(w.t, "applied before the merge", func() error { return w.answers("early.team-a", "192.0.2.130") })
	other, otherHead := w.propose(w.paul, "other", "Another one", map[string]string{zonePath: zone(append(slices.Clone(teamA), "other.team-a A 192.0.2.131"), 20, "ftp A 192.0.2.111")})
	w.hasStatus(otherHead, "trueup/plan", "success")
	w.comment(other, otherHead[:8]) // what is applied is what was shown
	w.paul.Comment(w.repo, other, "trueup apply")
	w.answered(other, "lock", fmt.Sprint("#", number))
	w.merge(w.paul, number)
	w.synced()
	if err := w.answers("early.team-a", "192.0.2.130"); err != nil {
		w.t.Fatal(err)
	}
	teamA = append(teamA, "early.team-a A 192.0.2.130")
	if err := w.forge.Admin.API("PATCH", fmt.Sprintf("/repos/%s/pulls/%d", w.repo, other), map[string]any{"state": "closed"}, nil); err != nil {
		w.t.Fatal(err)
	}
}

// missedWebhook: merged while the server is down; the poll catches up.
func missedWebhook(w *world) {
	number, head := w.propose(w.paul, "missed", "Add missed.team-a", map[string]string{zonePath: zone(append(slices.Clone(teamA), "missed.team-a A 192.0.2.140"), 20, "ftp A 192.0.2.111")})
	w.hasStatus(head, "trueup/plan", "success")
	w.stop()
	// Without its status a pull request can't be merged either.
	silent, _ := w.propose(w.paul, "silent", "Nobody looks", map[string]string{zonePath: zone(teamA, 20)})
	if err := w.paul.Merge(w.repo, silent); err == nil {
		w.t.Fatal("merged without the required status")
	}
	commit := w.merge(w.paul, number)
	if err := w.answers("missed.team-a", ""); err != nil {
		w.t.Fatal(err)
	}
	w.start()
	eventually(w.t, "the poll catches up", func() error { return w.answers("missed.team-a", "192.0.2.140") })
	w.hasStatus(commit, "trueup/apply", "success")
	w.comment(number, "applied")
}

// auditTrail: who proposed, approved and merged is told with links, and the
// record is sound.
func auditTrail(w *world) {
	var out string
	eventually(w.t, "the record tells of everybody", func() error {
		out = w.must("audit", "--environment", "dns-public", "-o", "csv")
		return want(out, ",paul,user:sara,", ",paul,gitea:dora,", "/"+w.repo+"/pulls/", "/"+w.repo+"/commit/", "Add ftp")
	})
	if !strings.Contains(w.must("audit", "verify"), "sound:") {
		w.t.Error("the record is not sound")
	}
	file := w.trueup.dir + "/audit.json"
	if err := os.WriteFile(file, []byte(w.must("audit", "-o", "json")), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.must("audit", "verify", file)
	w.t.Logf("audit:\n%s", w.must("audit", "--since", "1h"))
}

// noSecrets: nothing that was written anywhere holds one.
func noSecrets(w *world) {
	places := map[string]string{"the audit export": w.must("audit", "-o", "json")}
	log, err := os.ReadFile(w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	places["the server's log"] = string(log)
	var pulls []struct {
		Number int
		Head   struct{ SHA string }
	}
	for page := 1; page < 5; page++ {
		pulls = nil
		if err := w.forge.Admin.API(http.MethodGet, fmt.Sprintf("/repos/%s/pulls?state=all&page=%d", w.repo, page), nil, &pulls); err != nil {
			w.t.Fatal(err)
		}
		for _, p := range pulls {
			for _, c := range w.said(p.Number) {
				places[fmt.Sprintf("a comment on %d", p.Number)] += c.Body
			}
			_, text := w.status(p.Head.SHA, "trueup/plan")
			places[fmt.Sprintf("the status of %d", p.Number)] = text
		}
	}
	secrets := map[string]string{"the forge token": w.bot.Token, "the webhook secret": w.secret, "the TSIG key": w.dns.Key.Secret}
	for place, text := range places {
		for name, secret := range secrets {
			if strings.Contains(text, secret) {
				w.t.Errorf("%s is in %s", name, place)
			}
		}
	}
	if len(places) < 10 {
		w.t.Errorf("only %d places were looked at", len(places))
	}
}
