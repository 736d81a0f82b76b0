package cli

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/store"
)

func (a *app) getScopes() *cobra.Command {
	var phase string
	cmd := &cobra.Command{Use: "hosts TARGET", Aliases: []string{"host", "scopes", "scope"}, Short: "List the hosts (scopes) of a target, and what each is at", Args: cobra.ExactArgs(1),
		Long:    "List the hosts of a target, or whatever its driver's scopes are: which commit\neach was last verified at, which are down and since when, and when each is\ntried again.",
		Example: "  trueup get hosts infra/web\n  trueup get hosts infra/web --phase unreachable\n  trueup get hosts infra/web -o json"}
	cmd.Flags().StringVar(&phase, "phase", "", "only with this phase: synced, behind, rolling, failed, rolledback or unreachable")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.call(func(c *api.Client) error {
			list, err := c.Scopes(cmd.Context(), args[0], phase)
			if err != nil {
				return err
			}
			if !a.table() {
				return a.print(cmd, api.List[store.ScopeState]{Items: notNil(list)})
			}
			now, s := time.Now(), style(cmd)
			var rows [][]string
			for _, x := range list {
				message := x.Message
				if x.Drained {
					message = strings.TrimSuffix("drained; "+message, "; ")
				}
				rows = append(rows, []string{render.Line(string(x.Scope)), s.Word(string(x.Phase)), dash(render.Short(x.Commit)), render.Age(now, x.Since),
					retryIn(now, x.NextDue), cut(render.Line(message), 100)})
			}
			return a.rows(cmd, "no hosts are known of "+args[0]+": it has a single scope, or has not run yet",
				[]string{"HOST", "PHASE", "COMMIT", "SINCE", "RETRY", "MESSAGE"}, rows)
		})
	}
	return cmd
}

func retryIn(now, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return "in " + max(at.Sub(now), 0).Round(time.Second).String()
}

// showScopes says in a line for each phase and commit which hosts are there.
func (a *app) showScopes(cmd *cobra.Command, c *api.Client, t api.TargetDetail, line func(name, value string)) error {
	list, err := c.Scopes(cmd.Context(), t.ID, "")
	if err != nil || len(list) == 0 {
		return err
	}
	by := map[string][]string{}
	for _, x := range list {
		key := string(x.Phase)
		if x.Commit != "" {
			key += " at " + render.Short(x.Commit)
		}
		by[key] = append(by[key], string(x.Scope))
	}
	for _, key := range slices.Sorted(maps.Keys(by)) {
		line("hosts", fmt.Sprintf("%d %s: %s", len(by[key]), key, render.Names(by[key])))
	}
	return nil
}

// rollouts shows the rollouts under way: batch 3/10, 27 of 100 hosts.
func (a *app) rollouts(cmd *cobra.Command, c *api.Client, now time.Time) error {
	runs, err := c.Runs(cmd.Context(), url.Values{"state": {string(store.RunActive)}}, 0)
	if err != nil {
		return err
	}
	s := style(cmd)
	for _, r := range runs {
		if r.Rollout != nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s, %s, began %s ago; follow it with: trueup logs -f %s\n", s.Info("Rollout:"), render.Line(r.Target),
				r.Rollout, r.Phase, render.Age(now, r.Started), render.Line(r.Target))
		}
	}
	return nil
}

// limitedDone tells whether the limited run that was asked for has ended, and
// how.
func (a *app) limitedDone(cmd *cobra.Command, c *api.Client, x api.Action, since time.Time) (bool, error) {
	if len(x.Limit) == 0 {
		return false, nil
	}
	runs, err := c.Runs(cmd.Context(), url.Values{"target": {x.Target}}, 5)
	if err != nil {
		return false, err
	}
	for _, r := range runs {
		if !slices.Equal(r.Limit, x.Limit) || r.Started.Before(since.Truncate(time.Second)) || r.State == store.RunActive {
			continue
		}
		if !a.table() {
			if err := a.print(cmd, r); err != nil {
				return true, err
			}
		}
		if r.State != store.RunSucceeded && r.State != store.RunNoChange {
			return true, fmt.Errorf("the run of %s limited to %s is %s: %s", x.Target, strings.Join(x.Limit, ","), r.State, r.Error)
		}
		if a.table() {
			fmt.Fprintf(cmd.OutOrStdout(), "%s on %s is %s at %s\n", x.Target, strings.Join(x.Limit, ","), style(cmd).Word("synced"), render.Short(r.Commit))
		}
		return true, nil
	}
	return false, nil
}
