package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/policy"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/store"
)

const policyTestLong = `Try approval rules and guards on the plans that were made since a time, before
they decide anything. For each plan it says which rule would have matched and
what it would have asked for, and whether that differs from what happened:

  looser     it would have passed by itself, and waited for a person
  stricter   it would have waited for a person, and passed by itself

The rules are those that --policy names: a policy of the configuration, or a
file that holds one as it stands under policies.NAME. Without it each plan is
tried on the policy that its environment has now. Plans come from a running
server or, without one, from the store; those that were dropped with their runs
(limits.keepRuns) are not tried. Code owners and members of teams on a forge
are not looked up.

Exit codes: 0 nothing differs, 2 something would be let through that was held,
3 nothing would, but something would be held that was not.`

// errStricter ends a command with exit code 3.
var errStricter = errors.New("rules are stricter")

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Try approval rules on past plans, and explain what they decided",
		Example: "  trueup policy test --since 30d\n  trueup policy explain 20260131T150405-7f3a"}
	cmd.AddCommand(a.policyTestCommand(), a.policyExplainCommand())
	return cmd
}

func (a *app) policyTestCommand() *cobra.Command {
	var name, since, environment, target string
	cmd := &cobra.Command{Use: "test", Short: "Try rules on past plans and show what would differ", Args: cobra.NoArgs, Long: policyTestLong,
		Example: "  trueup policy test --since 30d\n  trueup policy test --policy trial.yaml --environment dns-public\n  trueup policy test --policy prod --target infra/zone -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := parseSince(since, time.Now())
			if err != nil {
				return err
			}
			rules, err := a.rulesFor(cmd, name)
			if err != nil {
				return err
			}
			past, err := a.past(cmd, store.RunFilter{Since: from, Environment: environment, Target: target})
			if err != nil {
				return err
			}
			return a.tryAll(cmd, rules, past)
		}}
	cmd.Flags().StringVar(&name, "policy", "", "the policy to try: its name in the configuration, or a file (default: each environment's own)")
	cmd.Flags().StringVar(&since, "since", "30d", "plans from this time on, or this age")
	cmd.Flags().StringVar(&environment, "environment", "", "only plans for this environment")
	cmd.Flags().StringVar(&target, "target", "", "only this target's plans")
	return cmd
}

// trial is a policy made ready.
type trial struct {
	guard map[string]config.Limit
	rules *policy.Rules
}

// trials gives the policy to try for an environment.
type trials struct {
	one   *trial
	cfg   *config.Server
	ready map[string]*trial
}

// rulesFor finds the policy to try; "" is that of each environment.
func (a *app) rulesFor(cmd *cobra.Command, name string) (*trials, error) {
	cfg, err := a.operator(cmd)
	t := &trials{cfg: cfg, ready: map[string]*trial{}}
	if name == "" {
		return t, err
	}
	if cfg != nil && cfg.Policies[name] != nil {
		t.one, err = ready(cfg.Policies[name])
		return t, err
	}
	body, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("--policy %s is neither a policy of the configuration nor a file that can be read: %w", name, err)
	}
	pol, diags := config.ParsePolicy(name, body, nil)
	if err := diags.Err(); err != nil {
		return nil, diags
	}
	t.one, err = ready(pol)
	var found plan.Diagnostics
	if errors.As(err, &found) {
		for i := range found {
			found[i].File = name
		}
		return nil, found
	}
	return t, err
}

func ready(p *config.Policy) (*trial, error) {
	r, err := policy.Compile(p.Approve)
	return &trial{p.Guard, r}, err
}

func (t *trials) of(environment string) (*trial, error) {
	if t.one != nil {
		return t.one, nil
	}
	if x := t.ready[environment]; x != nil {
		return x, nil
	}
	pol := config.DefaultPolicy()
	if e := t.cfg.Environments[environment]; e != nil && t.cfg.Policies[e.Policy] != nil {
		pol = t.cfg.Policies[e.Policy]
	}
	x, err := ready(pol)
	t.ready[environment] = x
	return x, err
}

// teams gives the teams of who caused a run.
func (t *trials) teams(r store.Run) []string {
	actor := r.Actor
	if r.First != nil {
		actor = r.First.Actor
	}
	name, ok := strings.CutPrefix(string(actor), "user:")
	if !ok || t.cfg == nil || t.cfg.Users[name] == nil {
		return nil
	}
	return t.cfg.Users[name].Teams
}

// past reads the plans that were made, each once, the newest first.
func (a *app) past(cmd *cobra.Command, f store.RunFilter) ([]policy.Past, error) {
	var out []policy.Past
	ctx := cmd.Context()
	err := a.storeOrServer(cmd, func(c *api.Client) error {
		q := url.Values{"since": {f.Since.Format(time.RFC3339)}}
		for k, v := range map[string]string{"environment": f.Environment, "target": f.Target} {
			if v != "" {
				q.Set(k, v)
			}
		}
		runs, err := c.Runs(ctx, q, 0)
		if err != nil {
			return err
		}
		out, err = distinctPlans(runs, func(id string) (*plan.Plan, error) {
			p, err := c.Plan(ctx, id)
			if notFound(err) {
				return nil, store.ErrNotFound
			}
			return p.Plan, err
		})
		return err
	}, func(ctx context.Context, s store.Store) error {
		runs, err := allRuns(ctx, s, f)
		if err != nil {
			return err
		}
		out, err = distinctPlans(runs, func(id string) (*plan.Plan, error) {
			p, _, err := s.Plan(ctx, id)
			return p, err
		})
		return err
	})
	return out, err
}

func allRuns(ctx context.Context, s store.Store, f store.RunFilter) ([]store.Run, error) {
	var all []store.Run
	for {
		runs, next, err := s.Runs(ctx, f)
		all = append(all, runs...)
		if next == "" || err != nil {
			return all, err
		}
		f.After = next
	}
}

// distinctPlans takes every plan of a target once: as it went in the end, with
// whichever of its runs still has it.
func distinctPlans(runs []store.Run, read func(id string) (*plan.Plan, error)) ([]policy.Past, error) {
	type key struct{ target, hash string }
	groups := map[key][]store.Run{}
	var order []key
	for _, r := range runs {
		if r.PlanHash == "" || r.State == store.RunActive {
			continue
		}
		k := key{r.Target, r.PlanHash}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], r)
	}
	var out []policy.Past
	for _, k := range order {
		x := policy.Past{Run: groups[k][0]}
		for _, r := range groups[k] {
			if x.Run.State == store.RunPlanned && r.State != store.RunPlanned {
				x.Run = r // what happened says more than what was shown
			}
			p, err := read(r.ID)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if x.Plan == nil {
				x.Plan = p
			}
		}
		if x.Plan != nil && x.Plan.Writes() {
			out = append(out, x)
		}
	}
	return out, nil
}

// tested is the result of a trial.
type tested struct {
	Plans    int              `json:"plans"`
	Looser   int              `json:"looser"`
	Stricter int              `json:"stricter"`
	Verdicts []policy.Verdict `json:"verdicts"`
}

func (a *app) tryAll(cmd *cobra.Command, t *trials, past []policy.Past) error {
	out := tested{Plans: len(past), Verdicts: []policy.Verdict{}}
	for _, x := range past {
		tr, err := t.of(x.Run.Environment)
		if err != nil {
			return err
		}
		x.Teams = t.teams(x.Run)
		v := tr.rules.Try(tr.guard, x)
		switch v.Difference {
		case policy.Looser:
			out.Looser++
		case policy.Stricter:
			out.Stricter++
		}
		out.Verdicts = append(out.Verdicts, v)
	}
	if err := a.showTested(cmd, out); err != nil {
		return err
	}
	switch {
	case out.Looser > 0:
		return errPending
	case out.Stricter > 0:
		return errStricter
	}
	return nil
}

func (a *app) showTested(cmd *cobra.Command, out tested) error {
	if !a.table() {
		return a.print(cmd, out)
	}
	s := style(cmd)
	var rows [][]string
	for _, v := range out.Verdicts {
		diff := v.Difference
		switch diff {
		case policy.Looser:
			diff = s.Bad(diff)
		case policy.Stricter:
			diff = s.Warn(diff)
		}
		now := v.Now
		if v.Needs != "" {
			now += ": " + v.Needs
		}
		rows = append(rows, []string{diff, render.Line(v.Target), render.Short(v.PlanHash), render.Time(v.At), v.Then, cut(render.Line(now), 70), cut(dash(render.Line(v.Rule)), 70), v.Run})
	}
	if err := a.rows(cmd, "no plans are stored from that time", []string{"DIFFERENCE", "TARGET", "PLAN", "TIME", "THEN", "NOW", "RULE", "RUN"}, rows); err != nil || len(rows) == 0 {
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "\n%d plans: %d would be let through that waited for a person, %d would wait that did not\n", out.Plans, out.Looser, out.Stricter)
	return err
}

func (a *app) policyExplainCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{Use: "explain RUN", Short: "Say of each rule whether it matches a run's plan, and what is asked for", Args: cobra.ExactArgs(1),
		Long:    "Say of each approval rule, in their order, whether it matches the plan of a run,\nwhich one counts, what it asks for, and which guards the plan breaks. The rules\nare those that the environment has now, or those of --policy.",
		Example: "  trueup policy explain 20260131T150405-7f3a\n  trueup policy explain 20260131T150405-7f3a --policy trial.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			rules, err := a.rulesFor(cmd, name)
			if err != nil {
				return err
			}
			x, err := a.pastRun(cmd, args[0])
			if err != nil {
				return err
			}
			t, err := rules.of(x.Run.Environment)
			if err != nil {
				return err
			}
			x.Teams = rules.teams(x.Run)
			looks, v := t.rules.Explain(t.guard, x)
			return a.showExplained(cmd, looks, v)
		}}
	cmd.Flags().StringVar(&name, "policy", "", "the policy to explain with: its name in the configuration, or a file (default: the environment's own)")
	return cmd
}

func (a *app) pastRun(cmd *cobra.Command, id string) (policy.Past, error) {
	var x policy.Past
	err := a.storeOrServer(cmd, func(c *api.Client) error {
		r, err := c.Run(cmd.Context(), id)
		if err != nil {
			return err
		}
		p, err := c.Plan(cmd.Context(), id)
		x = policy.Past{Run: r.Run, Plan: p.Plan}
		return err
	}, func(ctx context.Context, s store.Store) error {
		r, err := s.Run(ctx, id)
		if err != nil {
			return err
		}
		p, _, err := s.Plan(ctx, id)
		x = policy.Past{Run: r, Plan: p}
		return err
	})
	return x, err
}

func (a *app) showExplained(cmd *cobra.Command, looks []policy.Look, v policy.Verdict) error {
	if !a.table() {
		return a.print(cmd, struct {
			Rules []policy.Look `json:"rules"`
			policy.Verdict
		}{notNil(looks), v})
	}
	w, s := cmd.OutOrStdout(), style(cmd)
	fmt.Fprintf(w, "%s  plan %s of %s in %s\n", s.Bold(v.Run), render.Short(v.PlanHash), render.Line(v.Target), v.Environment)
	for i, l := range looks {
		word := s.Faint("does not match")
		switch {
		case l.Error != "":
			word = s.Bad("can't be evaluated: " + render.Line(l.Error))
		case l.Counts:
			word = s.Good("matches, and counts")
		case l.Matches:
			word = "matches"
		}
		fmt.Fprintf(w, "  %d. %s\n     %s\n", i+1, render.Line(l.Rule), word)
	}
	if len(looks) == 0 {
		fmt.Fprintln(w, "  there are no rules: only the guards ask for an approval")
	}
	for _, g := range v.Guards {
		fmt.Fprintf(w, "  %s %s\n", s.Warn("guard:"), render.Line(g))
	}
	if v.Needs != "" {
		fmt.Fprintf(w, "would be held: %s\n", render.Line(v.Needs))
	} else {
		fmt.Fprintln(w, "would pass by itself")
	}
	fmt.Fprintf(w, "then: %s", v.Then)
	if v.RestedOn != "" {
		fmt.Fprintf(w, " (%s)", render.Line(v.RestedOn))
	}
	_, err := fmt.Fprintln(w)
	return err
}
