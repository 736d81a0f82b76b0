package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/store"
)

// promotable is a target with what it takes to promote to it.
type promotable struct {
	edit.Promotable
	repository string
	res        *config.Resolved
}

// Promotions shows which versions differ between environments; an empty name
// is every one.
func (e *Engine) Promotions(ctx context.Context, from, to string) ([]edit.Promotable, error) {
	all, err := e.promotables(ctx, map[string]*ground{}, edit.Promotion{From: from, To: to})
	out := make([]edit.Promotable, 0, len(all))
	for _, p := range all {
		out = append(out, p.Promotable)
	}
	return out, err
}

func (e *Engine) promotables(ctx context.Context, grounds map[string]*ground, o edit.Promotion) ([]promotable, error) {
	var out []promotable
	err := e.eachTarget(ctx, store.TargetFilter{Environment: o.To, State: store.Active}, func(t store.Target) error {
		if !strings.Contains(string(t.Config), `"promote":`) {
			return nil
		}
		res := &config.Resolved{}
		if err := json.Unmarshal(t.Config, res); err != nil {
			return fmt.Errorf("target %s: stored configuration: %w", t.ID, err)
		}
		if res.Promote == nil || !chosen(o.Only, t, res.Promote.From) {
			return nil
		}
		p := promotable{Promotable: edit.Promotable{Target: t.ID, Environment: t.Environment, From: res.Promote.From}, repository: t.Repository, res: res}
		if res.Promote.After > 0 {
			p.After = res.Promote.After.String()
		}
		src, err := e.store.Target(ctx, p.From)
		if err == nil {
			p.FromEnv = src.Environment
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if o.From != "" && p.FromEnv != o.From {
			return nil
		}
		if err != nil {
			p.Error = fmt.Sprintf("there is no target %s", p.From)
			out = append(out, p)
			return nil
		}
		if err := e.compareVersions(ctx, grounds, &p, src); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.Error = err.Error()
		}
		if auto, err := e.store.Edit(ctx, store.AutoPromotion, p.Target); err == nil && p.After != "" {
			p.Auto = &edit.Auto{State: string(auto.State), Since: auto.Since, URL: auto.URL, Error: auto.Error}
		}
		out = append(out, p)
		return nil
	})
	return out, err
}

// chosen tells whether a target, or the one that it promotes from, is among
// the names.
func chosen(only []string, t store.Target, from string) bool {
	if len(only) == 0 {
		return true
	}
	_, fromName, _ := strings.Cut(from, "/")
	for _, glob := range only {
		for _, name := range []string{t.ID, t.Name, from, fromName} {
			if ok, err := path.Match(glob, name); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// compareVersions reads the versions: those of the source at the commit that
// was last healthy there, those of the target at the head of the branch.
func (e *Engine) compareVersions(ctx context.Context, grounds map[string]*ground, p *promotable, src store.Target) error {
	if src.State != store.Active {
		return fmt.Errorf("%s is %s", src.ID, src.State)
	}
	p.Commit = src.Status.Good
	if p.Commit == "" {
		return fmt.Errorf("%s has never been verified and healthy", src.ID)
	}
	if src.Status.Phase != store.Synced {
		p.Notes = append(p.Notes, fmt.Sprintf("%s is %s now; the versions are those of commit %.8s, which was healthy there", src.ID, src.Status.Phase, p.Commit))
	} else if src.Desired.Commit != p.Commit {
		p.Notes = append(p.Notes, fmt.Sprintf("%s has a newer commit %.8s that is not healthy there yet; the versions are those of %.8s", src.ID, src.Desired.Commit, p.Commit))
	}
	g := grounds[p.repository]
	if g == nil {
		var err error
		if g, err = e.ground(ctx, p.repository); err != nil {
			return err
		}
		grounds[p.repository] = g
	}
	var from config.Resolved
	if err := json.Unmarshal(src.Config, &from); err != nil {
		return fmt.Errorf("target %s: stored configuration: %w", src.ID, err)
	}
	for _, f := range p.res.Promote.Fields {
		_, want, err := g.read(ctx, p.Commit, from.Path, f.Origin())
		if err != nil {
			return fmt.Errorf("in %s at %.8s: %w", src.ID, p.Commit, err)
		}
		place, have, err := g.read(ctx, g.head, p.res.Path, f.Target())
		if err != nil {
			return fmt.Errorf("in %s at %.8s: %w", p.Target, g.head, err)
		}
		p.Fields = append(p.Fields, edit.Version{Name: f.Label(), File: place.File, Have: have, Want: want, Differs: !have.Equal(want), Place: place})
	}
	return nil
}

// Promote proposes the versions of one environment for another: one pull
// request for each repository.
func (e *Engine) Promote(ctx context.Context, by store.Actor, o edit.Promotion) ([]edit.Written, error) {
	switch {
	case o.From == "" || o.To == "":
		return nil, errors.New("name both environments: from which and to which")
	case o.From == o.To:
		return nil, fmt.Errorf("from and to are both %s", o.From)
	}
	grounds := map[string]*ground{}
	all, err := e.promotables(ctx, grounds, o)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no target of %s declares a promotion from %s%s", o.To, o.From, map[bool]string{true: " under these names"}[len(o.Only) > 0])
	}
	var errs []error
	byRepo := map[string][]promotable{}
	for _, p := range all {
		if p.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", p.Target, p.Error))
			continue
		}
		byRepo[p.repository] = append(byRepo[p.repository], p)
	}
	var out []edit.Written
	for _, repo := range sortedKeys(byRepo) {
		w, err := e.promoteIn(ctx, by, grounds[repo], byRepo[repo], o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, w)
	}
	return out, errors.Join(errs...)
}

// byRequest is the cause of a look at a pull request that somebody had trueup
// open.
const byRequest = "request"

func (e *Engine) promoteIn(ctx context.Context, by store.Actor, g *ground, ps []promotable, o edit.Promotion) (edit.Written, error) {
	d := promotionDraft(ps, o, by)
	w := edit.Written{Repository: g.conf.Name, Base: g.branch, Changes: d.changes, DryRun: o.DryRun}
	for _, p := range ps {
		w.Notes = append(w.Notes, p.Notes...)
	}
	if len(d.changes) == 0 {
		w.Notes = append(w.Notes, "all versions are equal; there is nothing to promote")
		return w, nil
	}
	if o.DryRun {
		_, diff, err := g.edited(ctx, g.head, d.changes)
		w.Diff = diff
		return w, err
	}
	notes := w.Notes
	w, err := e.propose(ctx, g, d)
	w.Notes = append(notes, w.Notes...)
	if err != nil {
		return w, err
	}
	if w.Number > 0 {
		if err := e.wantPull(ctx, w.Repository, w.Number, store.ByPerson, byRequest, by); err != nil {
			return w, err
		}
	}
	data := map[string]any{"from": o.From, "to": o.To, "branch": w.Branch, "commit": w.Commit, "url": w.URL, "changes": len(w.Changes), "reason": o.Reason}
	for _, p := range ps {
		if len(p.Changes()) > 0 {
			if err := e.event(ctx, by, "promotion.proposed", p.Target, "", data); err != nil {
				return w, err
			}
		}
	}
	return w, nil
}

// promotionDraft words the pull request.
func promotionDraft(ps []promotable, o edit.Promotion, by store.Actor) draft {
	d := draft{labels: []string{"trueup"}, trailers: []string{"Trueup-Promote: " + o.From + " to " + o.To, "Trueup-Requested-By: " + string(by)}}
	var targets []string
	var b strings.Builder
	fmt.Fprintf(&b, "Versions of **%s** for **%s**", o.From, o.To)
	fmt.Fprintf(&b, ", asked for by %s", by)
	if o.Reason != "" {
		fmt.Fprintf(&b, ": %s", oneLine(o.Reason))
		d.trailers = append(d.trailers, "Trueup-Reason: "+oneLine(o.Reason))
	}
	b.WriteString(".\n\n| Target | Field | Now | Then | Healthy in " + o.From + " at |\n| --- | --- | --- | --- | --- |\n")
	for _, p := range ps {
		changes := p.Changes()
		for _, c := range changes {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %.8s |\n", cell(p.Target), cell(c.Field), cell(c.From.Text), cell(c.To.Text), p.Commit)
		}
		if len(changes) > 0 {
			targets = append(targets, p.Target)
			d.changes = append(d.changes, changes...)
		}
	}
	b.WriteString("\nOnce it is merged the change is planned, gated and applied like any other.\n")
	d.body = b.String()
	last := "all"
	if len(o.Only) > 0 {
		last = branchPart(strings.Join(o.Only, "+"))
	}
	d.branch = ownBranches + "promote/" + branchPart(o.From) + "/" + branchPart(o.To) + "/" + last
	d.subject = fmt.Sprintf("Promote %d targets from %s to %s", len(targets), o.From, o.To)
	if len(targets) == 1 {
		_, name, _ := strings.Cut(targets[0], "/")
		d.subject = fmt.Sprintf("Promote %s from %s to %s", name, o.From, o.To)
	}
	return d
}

func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }), " ")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return s
}

// cell makes a text fit into a table of Markdown.
func cell(s string) string {
	return "`" + strings.NewReplacer("|", `\|`, "`", "'", "\n", " ").Replace(s) + "`"
}
