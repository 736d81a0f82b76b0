package cli

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/source/forge"
)

// soon is how long before its end a token is worth a warning.
const soon = 14 * 24 * time.Hour

// The statuses that trueup sets.
const (
	planStatus  = "trueup/plan"
	applyStatus = "trueup/apply"
)

// forge checks a repository's forge: the credentials and their rights, the
// webhook, and what the branch protection asks for.
func (d *doctor) forge(ctx context.Context, r *config.Repository) {
	check := "repository " + r.Name + " forge"
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	f, err := engine.OpenForge(ctx, forges(), d.secrets, d.cfg.Dir, r, quiet())
	if err != nil {
		d.fail(check, "correct `forge:` of the repository", "%v", err)
		return
	}
	branch, ok := d.standing(ctx, check, f, r.Branch)
	if !ok {
		return
	}
	d.webhook(ctx, check+" webhook", f, r)
	if p, ok := f.(forge.Protector); ok && branch != "" && r.PullRequests.Planned() {
		d.required(ctx, check+" protection", p, branch)
	}
}

// standing checks the credentials. It gives the branch that is followed, and
// false where there is no use in asking further.
func (d *doctor) standing(ctx context.Context, check string, f forge.Forge, branch string) (string, bool) {
	name := f.Info().Name
	ex, ok := f.(forge.Examiner)
	if !ok {
		return branch, true
	}
	s, err := ex.Examine(ctx)
	var limited forge.LimitedError
	switch {
	case errors.As(err, &limited):
		d.warn(check, "run doctor again later", "%s: %v", name, err)
	case errors.Is(err, forge.ErrUnreachable):
		d.fail(check, "check `url:`, the network and the forge's certificate (`ca:`)", "%s: %v", name, err)
	case errors.Is(err, forge.ErrDenied):
		d.fail(check, "make a new token (or check appId, key and installation), with the rights in docs/forges", "%s: %v", name, err)
	case errors.Is(err, forge.ErrNotFound):
		d.fail(check, "check `project:`, and that the credentials may see the repository", "%s: %v", name, err)
	case err != nil:
		d.fail(check, "check `forge:` of the repository", "%s: %v", name, err)
	}
	if err != nil {
		return branch, false
	}
	for _, m := range s.Missing {
		d.warn(check, "give it to the credentials; docs/forges lists what is needed", "%s (%s) lacks %s", s.Account, s.Kind, m)
	}
	left := s.Expires.Sub(now())
	switch {
	case s.Expires.IsZero():
	case left < 0:
		d.fail(check, "make a new token", "the token ended on %s", s.Expires.Format(time.DateOnly))
	case left < soon:
		d.warn(check, "make a new token before that", "the token ends on %s", s.Expires.Format(time.DateOnly))
	}
	if len(s.Missing) == 0 {
		note := ""
		if len(s.Unknown) > 0 {
			note = "; not checked: " + strings.Join(s.Unknown, ", ")
		}
		d.ok(check, "%s knows %s as %s (%s)%s", name, f.Info().Project, s.Account, s.Kind, note)
	}
	if branch == "" {
		branch = s.DefaultBranch
	}
	return branch, true
}

// webhook checks that the forge calls this server.
func (d *doctor) webhook(ctx context.Context, check string, f forge.Forge, r *config.Repository) {
	admin, ok := f.(forge.HookAdmin)
	if !ok || len(r.WebhookSecrets) == 0 {
		return
	}
	at := webhookURL(d.cfg, r.Name)
	if at == "" {
		d.warn(check, "set listen.publicURL to where the forge reaches this server", "it can't be checked, as the server's public address is not known")
		return
	}
	list, err := admin.Hooks(ctx)
	if err != nil {
		d.warn(check, "give the credentials the right to read webhooks, or look at the forge's own page", "it can't be checked: %v", err)
		return
	}
	again := "run `trueup webhook install " + r.Name + "`"
	i := slices.IndexFunc(list, func(h forge.Hook) bool { return h.URL == at })
	if i < 0 {
		d.warn(check, again+"; until then changes are seen every "+r.Poll.String(), "none of the %d webhooks there calls %s", len(list), at)
		return
	}
	h := list[i]
	var lacking []string
	for _, e := range f.Info().HookEvents {
		if !slices.Contains(h.Events, e) {
			lacking = append(lacking, e)
		}
	}
	switch {
	case !h.Active:
		d.warn(check, again, "the webhook is switched off: %s", orElse(h.LastError, "somebody, or the forge itself, did that"))
	case len(lacking) > 0:
		d.warn(check, again, "the webhook leaves out %s", strings.Join(lacking, ", "))
	case h.LastError != "":
		d.warn(check, "see that the forge reaches "+at+" and that the secrets agree ("+again+" sets them anew)", "the last delivery went wrong: %s", h.LastError)
	case h.Delivered:
		d.ok(check, "it calls %s, and the last delivery went well", at)
	default:
		d.ok(check, "it calls %s", at)
	}
}

// required checks what a branch asks for before a merge.
func (d *doctor) required(ctx context.Context, check string, p forge.Protector, branch string) {
	list, err := p.RequiredStatuses(ctx, branch)
	if err != nil {
		d.warn(check, "give the credentials the right to read the branch's rules, or look at the forge's own page", "it can't be checked: %v", err)
		return
	}
	asks := func(status string) bool {
		return slices.ContainsFunc(list, func(c string) bool { ok, _ := path.Match(c, status); return ok || c == "*" })
	}
	for _, c := range list {
		plan, _ := path.Match(c, planStatus)
		apply, _ := path.Match(c, applyStatus)
		switch {
		case strings.HasPrefix(c, "trueup/") && !plan && !apply:
			d.fail(check, "take it out of the rules of the branch", "branch %s waits for %s, which trueup never sets", branch, c)
		case apply && !plan && c == applyStatus:
			d.warn(check, "require "+planStatus+" instead", "branch %s waits for %s, which is set after the merge", branch, c)
		}
	}
	if asks(planStatus) {
		d.ok(check, "branch %s waits for %s", branch, planStatus)
		return
	}
	d.warn(check, "require the status "+planStatus+" in the rules of the branch", "branch %s can be merged before its plan is known", branch)
}

func orElse(text, other string) string {
	if text != "" {
		return text
	}
	return other
}
