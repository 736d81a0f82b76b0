package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/store"
)

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{Use: "show TARGET|RUN", Short: "Show a target with its plan, or a run with its results", Args: cobra.ExactArgs(1),
		Example: "  trueup show infra/zone\n  trueup show 20260131T150405-7f3a",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.call(func(c *api.Client) error {
				t, err := c.Target(cmd.Context(), args[0])
				if notFound(err) {
					return a.showRun(cmd, c, args[0], err)
				}
				if err != nil {
					return err
				}
				return a.showTarget(cmd, c, t)
			})
		}}
}

func notFound(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// shownTarget is a target with the plan that waits.
type shownTarget struct {
	api.TargetDetail
	Scopes []store.ScopeState `json:"scopes,omitempty"`
	Plan   *api.Plan          `json:"plan,omitempty"`
}

func (a *app) showTarget(cmd *cobra.Command, c *api.Client, t api.TargetDetail) error {
	out := shownTarget{TargetDetail: t}
	if t.Status.PlanHash != "" && t.Status.Run != "" {
		p, err := c.Plan(cmd.Context(), t.Status.Run)
		if err != nil && !notFound(err) {
			return err
		}
		if err == nil {
			out.Plan = &p
		}
	}
	if !a.table() {
		var err error
		if out.Scopes, err = c.Scopes(cmd.Context(), t.ID, ""); err != nil {
			return err
		}
		return a.print(cmd, out)
	}
	w, s := cmd.OutOrStdout(), style(cmd)
	line := func(name, value string) {
		if value != "" && value != "-" {
			fmt.Fprintf(w, "%s %s\n", s.Faint(fmt.Sprintf("%-12s", name)), render.Line(value))
		}
	}
	fmt.Fprintf(w, "%s  %s\n", s.Bold(render.Line(t.ID)), s.Word(string(t.Status.Phase)))
	line("state", string(t.State))
	line("environment", t.Environment)
	line("declared at", t.Source.String())
	line("path", t.Path)
	line("depends on", strings.Join(t.DependsOn, ", "))
	line("desired", desired(t.Desired))
	line("applied", strings.TrimSpace(render.Short(t.Status.Applied)+" "+t.Status.AppliedRef))
	line("verified", render.Time(t.Status.VerifiedAt))
	line("next check", render.Time(t.Status.NextDue))
	if err := a.showScopes(cmd, c, t, line); err != nil {
		return err
	}
	line("owns", fmt.Sprintf("%d objects", t.Status.Owned))
	line("last run", t.Status.Run)
	if t.Status.Gate != "" {
		line("held by", t.Status.Gate)
	}
	line("message", t.Status.Message)
	for _, h := range t.Holds {
		line("hold", fmt.Sprintf("%s %s by %s: %s", h.Kind, h.Key, h.Actor, h.Reason))
	}
	for _, x := range t.Edits {
		line(editWord[x.Kind], editText(x))
	}
	if out.Plan == nil {
		return nil
	}
	fmt.Fprintln(w)
	return render.Plan(w, s, heldView(t, *out.Plan))
}

func desired(d store.Desired) string {
	text := render.Short(d.Commit)
	if d.Ref != "" {
		text += " (" + d.Ref + ")"
	}
	if d.Source == "pin" {
		text += ", pinned by " + string(d.Actor)
	}
	return text
}

// heldView says with a waiting plan why it waits and what to do next.
func heldView(t api.TargetDetail, p api.Plan) render.View {
	v := render.View{Plan: p.Plan, Hash: p.Hash, Environment: t.Environment, Commit: t.Desired.Commit, Ref: t.Desired.Ref}
	if t.Status.Gate == "" {
		return v
	}
	v.Held = []string{t.Status.Gate + ": " + t.Status.Message}
	v.Next = nextSteps(t.Status.Gate, t.ID, p.Hash, t.Environment)
	return v
}

// nextSteps says what opens a gate.
func nextSteps(gate, target, hash, environment string) []string {
	switch gate {
	case "approval", "guard":
		return []string{fmt.Sprintf("let it through:  trueup approve %s %s", target, render.Short(hash)),
			fmt.Sprintf("refuse it:       trueup reject %s %s", target, render.Short(hash))}
	case "freeze":
		return []string{"lift the freeze: trueup freeze --lift (or `freeze:` in the configuration)"}
	case "restore":
		return []string{"after looking at the plans: trueup freeze --lift-restore"}
	case "suspended":
		return []string{fmt.Sprintf("resume:          trueup resume %s (or `suspend:` in trueup.yaml)", target)}
	case "drift", "flapping":
		return []string{"correct it once: trueup sync " + target}
	case "rollout":
		return []string{"mend it in Git: a newer commit goes to all hosts", "or try the same again: trueup sync " + target,
			"which host is where:   trueup get hosts " + target}
	case "rejected":
		return []string{"change it in Git; the next plan is decided on anew"}
	case "scope":
		return []string{"the grant in server.yaml for environment " + environment + " does not cover this"}
	}
	return nil
}

func (a *app) showRun(cmd *cobra.Command, c *api.Client, id string, noTarget error) error {
	r, err := c.Run(cmd.Context(), id)
	if notFound(err) {
		return noTarget
	}
	if err != nil {
		return err
	}
	p, perr := c.Plan(cmd.Context(), id)
	if perr != nil && !notFound(perr) {
		return perr
	}
	if !a.table() {
		out := struct {
			api.Run
			Plan *api.Plan `json:"plan,omitempty"`
		}{Run: r}
		if perr == nil {
			out.Plan = &p
		}
		return a.print(cmd, out)
	}
	w, s := cmd.OutOrStdout(), style(cmd)
	fmt.Fprintf(w, "%s  %s  %s by %s, %s", s.Bold(r.ID), s.Word(string(r.State)), r.Cause, r.Actor, render.Time(r.Started))
	if !r.Finished.IsZero() {
		fmt.Fprintf(w, ", took %s", r.Finished.Sub(r.Started).Round(time.Millisecond))
	}
	fmt.Fprintln(w)
	for _, f := range originFacts(r.Origin) {
		fmt.Fprintf(w, "%s: %s\n", f[0], render.Line(f[1]))
	}
	if len(r.Limit) > 0 {
		fmt.Fprintf(w, "limited to: %s\n", render.Line(strings.Join(r.Limit, ", ")))
	}
	if r.Rollout != nil {
		fmt.Fprintf(w, "rollout: %s\n", r.Rollout)
	}
	if r.Approval != "" {
		fmt.Fprintf(w, "rests on: %s\n", render.Line(r.Approval))
	}
	if r.Error != "" {
		fmt.Fprintf(w, "%s %s\n", s.Bad("error:"), render.Clean(r.Error))
	}
	if perr == nil {
		if err := render.Plan(w, s, render.View{Plan: p.Plan, Hash: p.Hash, Environment: r.Environment, Commit: r.Commit, Ref: r.Ref}); err != nil {
			return err
		}
	}
	if len(r.Results) == 0 {
		return nil
	}
	return render.Results(w, s, r.Results)
}

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{Use: "logs TARGET|RUN", Short: "Show the log of a run, or of a target's last run", Args: cobra.ExactArgs(1),
		Example: "  trueup logs infra/zone\n  trueup logs -f infra/zone",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.call(func(c *api.Client) error { return a.logs(cmd, c, args[0], follow) })
		}}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the run ends; for a target, with its next runs as well")
	return cmd
}

// lastRun finds the run that a name stands for: itself, or a target's newest.
func lastRun(ctx context.Context, c *api.Client, name string) (run string, isTarget bool, err error) {
	_, err = c.Target(ctx, name)
	if notFound(err) {
		return name, false, nil
	}
	if err != nil {
		return "", false, err
	}
	runs, err := c.Runs(ctx, url.Values{"target": {name}}, 1)
	if err != nil || len(runs) == 0 {
		return "", true, err
	}
	return runs[0].ID, true, nil
}

func (a *app) logs(cmd *cobra.Command, c *api.Client, name string, follow bool) error {
	ctx := cmd.Context()
	shown := ""
	for {
		run, isTarget, err := lastRun(ctx, c, name)
		if err != nil {
			return err
		}
		if run == "" && !follow {
			return fmt.Errorf("target %s has not run yet", name)
		}
		if run != "" && run != shown {
			if err := a.log(cmd, c, run, follow); err != nil {
				return err
			}
			shown = run
		}
		if !follow || !isTarget {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (a *app) log(cmd *cobra.Command, c *api.Client, run string, follow bool) error {
	after, wait := int64(0), time.Duration(0)
	if follow {
		wait = 20 * time.Second
	}
	for {
		l, err := c.Log(cmd.Context(), run, after, wait)
		if err != nil {
			if follow && cmd.Context().Err() != nil {
				return nil
			}
			return err
		}
		for _, x := range l.Lines {
			after = x.Seq
			if a.table() {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", style(cmd).Faint(x.At.UTC().Format("15:04:05.000")), render.Clean(x.Text))
				continue
			}
			if err := a.print(cmd, x); err != nil {
				return err
			}
		}
		if l.Done && len(l.Lines) == 0 || !follow && len(l.Lines) == 0 {
			return nil
		}
	}
}

func (a *app) eventsCommand() *cobra.Command {
	var after int64
	cmd := &cobra.Command{Use: "events", Short: "Follow what happens, as it happens", Args: cobra.NoArgs,
		Example: "  trueup events\n  trueup events --after 1 -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.call(func(c *api.Client) error {
				err := c.Events(cmd.Context(), after, func(e store.Event) error {
					if !a.table() {
						return a.print(cmd, e)
					}
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %-20s %s %s %s\n", render.Time(e.At), e.Kind, render.Line(e.Target), e.Actor, cut(render.Line(string(e.Data)), 120))
					return err
				})
				if cmd.Context().Err() != nil {
					return nil
				}
				return err
			})
		}}
	cmd.Flags().Int64Var(&after, "after", 0, "begin after the event with this number (default: with the next one)")
	return cmd
}
