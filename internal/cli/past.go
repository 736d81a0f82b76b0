package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/render"
)

func (a *app) historyCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{Use: "history ENVIRONMENT", Short: "Say which commit or tag was in force in an environment at a time", Args: cobra.ExactArgs(1),
		Long:    "Say for each target of an environment which commit or tag was in force at a\ntime, since when, and what caused it. Times are RFC 3339, a date, or a date\nwith hours and minutes in UTC.",
		Example: "  trueup history dns\n  trueup history dns --at 2026-01-31\n  trueup history dns --at '2026-01-31 15:04'",
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTime(at)
			if err != nil {
				return err
			}
			return a.call(func(c *api.Client) error {
				list, err := c.History(cmd.Context(), args[0], t)
				if err != nil {
					return err
				}
				if !a.table() {
					return a.print(cmd, api.List[api.InForce]{Items: notNil(list)})
				}
				var rows [][]string
				for _, x := range list {
					rows = append(rows, []string{render.Line(x.Target), x.Commit, dash(render.Line(x.Ref)), render.Time(x.Since), x.Cause, string(x.Actor),
						dash(render.Line(through(x.Origin))), x.Run})
				}
				return a.rows(cmd, "nothing was in force then", []string{"TARGET", "COMMIT", "REF", "SINCE", "CAUSE", "BY", "THROUGH", "RUN"}, rows)
			})
		}}
	cmd.Flags().StringVar(&at, "at", "", "the time (default: now)")
	return cmd
}

// parseTime reads the times that people write; empty is zero. A date alone
// means its end.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05Z", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Nanosecond), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write 2026-01-31T15:04:05Z, '2026-01-31 15:04' (UTC) or 2026-01-31", text)
}

func (a *app) whyCommand() *cobra.Command {
	return &cobra.Command{Use: "why [ENVIRONMENT] ADDRESS", Short: "Say which line, commit and author ask for an object, and which run applied it",
		Args:    cobra.RangeArgs(1, 2),
		Example: "  trueup why dns www.example.com./A\n  trueup why web index.html",
		RunE: func(cmd *cobra.Command, args []string) error {
			env, address := "", args[0]
			if len(args) == 2 {
				env, address = args[0], args[1]
			}
			return a.call(func(c *api.Client) error {
				list, err := c.Why(cmd.Context(), env, address)
				if err != nil {
					return err
				}
				if !a.table() {
					return a.print(cmd, api.List[api.Why]{Items: notNil(list)})
				}
				if len(list) == 0 {
					return fmt.Errorf("no target owns %s%s: nobody asks for it in Git (addresses are listed by `trueup show` and in plans)", address, in(env))
				}
				for _, x := range list {
					printWhy(cmd, x)
				}
				return nil
			})
		}}
}

func in(env string) string {
	if env == "" {
		return ""
	}
	return " in " + env
}

func printWhy(cmd *cobra.Command, x api.Why) {
	w, s := cmd.OutOrStdout(), style(cmd)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s %s\n", s.Faint(fmt.Sprintf("%-11s", name)), render.Line(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(w, "%s in %s\n", s.Bold(render.Line(x.Key.String())), x.Environment)
	line("owned by", "%s", x.Target)
	if at := x.Source.String(); at != "" {
		line("asked for", "%s in repository %s", at, x.Repository)
	}
	if c := x.Commit; c != nil {
		line("written by", "%s <%s> in %s, %s: %s", c.Author, c.Email, render.Short(c.Commit), render.Time(c.At), c.Subject)
	}
	if r := x.Applied; r != nil {
		line("applied by", "run %s of commit %s, %s", r.ID, render.Short(r.Commit), render.Time(r.Finished))
		line("caused by", "%s, %s", r.Cause, r.Actor)
		for _, f := range originFacts(r.Origin) {
			line(f[0], "%s", f[1])
		}
		if r.Approval != "" {
			line("rests on", "%s", r.Approval)
		}
	}
	if x.Pending {
		line("note", "the outcome of its last write is not known yet")
	}
}
