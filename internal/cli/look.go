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

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "Show what is in sync, what waits, and for what", Args: cobra.NoArgs,
		Long:    "Show the server at a glance: how many targets are in which phase, what is\nheld or failing and why, and which suspensions and freezes are in force.",
		Example: "  trueup status\n  trueup status -o json", RunE: func(cmd *cobra.Command, _ []string) error {
			return a.call(func(c *api.Client) error { return a.status(cmd, c) })
		}}
}

func (a *app) status(cmd *cobra.Command, c *api.Client) error {
	st, err := c.Status(cmd.Context())
	if err != nil {
		return err
	}
	ts, err := c.Targets(cmd.Context(), nil)
	if err != nil {
		return err
	}
	repos, err := c.Repositories(cmd.Context())
	if err != nil {
		return err
	}
	trouble := slices.DeleteFunc(ts, func(t api.Target) bool {
		return t.State == store.Active && (t.Status.Phase == store.Synced || t.Status.Phase == store.Running)
	})
	if !a.table() {
		return a.print(cmd, struct {
			api.Status
			Attention    []api.Target     `json:"attention"`
			Repositories []api.Repository `json:"repositories"`
		}{st, trouble, repos})
	}
	w, s := cmd.OutOrStdout(), style(cmd)
	var counts []string
	for _, p := range slices.Sorted(maps.Keys(st.Targets)) {
		counts = append(counts, fmt.Sprintf("%d %s", st.Targets[p], s.Word(string(p))))
	}
	if len(counts) == 0 {
		counts = []string{"none yet"}
	}
	fmt.Fprintf(w, "Targets: %s\n", strings.Join(counts, ", "))
	for _, h := range st.Holds {
		fmt.Fprintf(w, "%s %s %s by %s, %s ago: %s\n", s.Warn("Hold:"), h.Kind, render.Line(h.Key), h.Actor, render.Age(st.Now, h.At), render.Line(h.Reason))
	}
	for _, r := range repos {
		if r.Error != "" {
			fmt.Fprintf(w, "%s repository %s: %s (last read %s ago)\n", s.Bad("Git:"), r.Name, render.Line(r.Error), render.Age(st.Now, r.FetchedAt))
		}
		for _, d := range r.Invalid.Errors() {
			fmt.Fprintf(w, "%s %s: %s\n", s.Bad("Mistake:"), r.Name, render.Line(d.Error()))
		}
	}
	if err := a.rollouts(cmd, c, st.Now); err != nil {
		return err
	}
	if len(trouble) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return a.targetRows(cmd, st.Now, trouble)
}

func (a *app) targetRows(cmd *cobra.Command, now time.Time, ts []api.Target) error {
	s := style(cmd)
	var rows [][]string
	for _, t := range ts {
		phase := string(t.Status.Phase)
		if t.State != store.Active {
			phase = string(t.State)
		}
		message := t.Status.Message
		if t.Status.Gate != "" {
			message = t.Status.Gate + ": " + message
		}
		if t.Desired.Source == "pin" {
			message = strings.TrimSpace("pinned to " + render.Short(t.Desired.Commit) + " " + message)
		}
		rows = append(rows, []string{render.Line(t.ID), render.Line(t.Environment), s.Word(phase), render.Short(t.Status.Applied),
			render.Age(now, t.Status.VerifiedAt), cut(render.Line(message), 90)})
	}
	return a.rows(cmd, "no targets", []string{"TARGET", "ENVIRONMENT", "PHASE", "APPLIED", "VERIFIED", "MESSAGE"}, rows)
}

func cut(text string, n int) string {
	r := []rune(text)
	if len(r) <= n {
		return text
	}
	return string(r[:n-1]) + "…"
}

func (a *app) getCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "get", Short: "List targets, hosts, environments, repositories or runs",
		Example: "  trueup get targets --phase held\n  trueup get runs --target infra/zone --limit 5\n  trueup get hosts infra/web --phase unreachable\n  trueup get environments -o yaml"}
	cmd.AddCommand(a.getTargets(), a.getScopes(), a.getEnvironments(), a.getRepositories(), a.getRuns())
	return cmd
}

// filterFlags adds string flags that become the filter of a list.
func filterFlags(cmd *cobra.Command, names ...string) func() url.Values {
	for _, n := range names {
		cmd.Flags().String(n, "", "only with this "+n)
	}
	return func() url.Values {
		q := url.Values{}
		for _, n := range names {
			if v, _ := cmd.Flags().GetString(n); v != "" {
				q.Set(n, v)
			}
		}
		return q
	}
}

func (a *app) getTargets() *cobra.Command {
	cmd := &cobra.Command{Use: "targets", Aliases: []string{"target"}, Short: "List targets and how they are", Args: cobra.NoArgs,
		Example: "  trueup get targets\n  trueup get targets --environment dns --phase held"}
	filter := filterFlags(cmd, "repository", "environment", "phase", "state")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.call(func(c *api.Client) error {
			ts, err := c.Targets(cmd.Context(), filter())
			if err != nil {
				return err
			}
			if !a.table() {
				return a.print(cmd, api.List[api.Target]{Items: notNil(ts)})
			}
			return a.targetRows(cmd, time.Now(), ts)
		})
	}
	return cmd
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (a *app) getEnvironments() *cobra.Command {
	return &cobra.Command{Use: "environments", Aliases: []string{"environment", "envs"}, Short: "List environments", Args: cobra.NoArgs,
		Example: "  trueup get environments", RunE: func(cmd *cobra.Command, _ []string) error {
			return a.call(func(c *api.Client) error {
				es, err := c.Environments(cmd.Context())
				if err != nil {
					return err
				}
				if !a.table() {
					return a.print(cmd, api.List[api.Environment]{Items: notNil(es)})
				}
				var rows [][]string
				for _, e := range es {
					total, synced := 0, e.Targets[store.Synced]
					for _, n := range e.Targets {
						total += n
					}
					var grants []string
					for _, g := range e.Grants {
						grants = append(grants, g.Repository)
					}
					rows = append(rows, []string{e.Name, e.Driver, dash(e.Policy), fmt.Sprintf("%d of %d synced", synced, total), strings.Join(grants, ", ")})
				}
				return a.rows(cmd, "no environments", []string{"ENVIRONMENT", "DRIVER", "POLICY", "TARGETS", "REPOSITORIES"}, rows)
			})
		}}
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (a *app) getRepositories() *cobra.Command {
	return &cobra.Command{Use: "repositories", Aliases: []string{"repository", "repos"}, Short: "List repositories and what was last seen of them",
		Args: cobra.NoArgs, Example: "  trueup get repositories", RunE: func(cmd *cobra.Command, _ []string) error {
			return a.call(func(c *api.Client) error {
				rs, err := c.Repositories(cmd.Context())
				if err != nil {
					return err
				}
				if !a.table() {
					return a.print(cmd, api.List[api.Repository]{Items: notNil(rs)})
				}
				var rows [][]string
				for _, r := range rs {
					state := style(cmd).Word("ok")
					switch {
					case r.Error != "":
						state = style(cmd).Bad(cut(render.Line(r.Error), 60))
					case len(r.Invalid.Errors()) > 0:
						state = style(cmd).Bad(fmt.Sprintf("%d mistakes; see trueup status", len(r.Invalid.Errors())))
					case r.FetchedAt.IsZero():
						state = style(cmd).Warn("not read yet")
					}
					rows = append(rows, []string{r.Name, render.Line(r.URL), r.Follows, dash(render.Short(r.Head)), render.Age(time.Now(), r.FetchedAt), state})
				}
				return a.rows(cmd, "no repositories", []string{"REPOSITORY", "URL", "FOLLOWS", "HEAD", "READ", "STATE"}, rows)
			})
		}}
}

func (a *app) getRuns() *cobra.Command {
	cmd := &cobra.Command{Use: "runs", Aliases: []string{"run"}, Short: "List runs, newest first", Args: cobra.NoArgs,
		Example: "  trueup get runs --target infra/zone\n  trueup get runs --state failed --since 2026-01-31T00:00:00Z"}
	filter := filterFlags(cmd, "target", "environment", "repository", "state", "since", "until")
	limit := cmd.Flags().Int("limit", 20, "how many at most; 0 is all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.call(func(c *api.Client) error {
			rs, err := c.Runs(cmd.Context(), filter(), *limit)
			if err != nil {
				return err
			}
			if !a.table() {
				return a.print(cmd, api.List[store.Run]{Items: notNil(rs)})
			}
			var rows [][]string
			for _, r := range rs {
				message := r.Error
				if r.Gate != "" && message == "" {
					message = "held by " + r.Gate
				}
				rows = append(rows, []string{r.ID, render.Line(r.Target), style(cmd).Word(string(r.State)), r.Cause, string(r.Actor), render.Short(r.Commit),
					render.Time(r.Started), counts(r), cut(render.Line(message), 60)})
			}
			return a.rows(cmd, "no runs", []string{"RUN", "TARGET", "STATE", "CAUSE", "BY", "COMMIT", "STARTED", "CHANGES", "MESSAGE"}, rows)
		})
	}
	return cmd
}

func counts(r store.Run) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(r.Summary)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Summary[k], k))
	}
	return dash(strings.Join(parts, ", "))
}
