package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/store"
)

func (a *app) promoteCommand() *cobra.Command {
	var p edit.Promotion
	var list bool
	cmd := &cobra.Command{Use: "promote --from ENVIRONMENT --to ENVIRONMENT", Short: "Take the versions of one environment to another, by a pull request", Args: cobra.NoArgs,
		Long: `Copy the versions that targets declare with ` + "`promote`" + ` in trueup.yaml from one
environment's files to another's: as they are at the commit that was last
verified and healthy in the first. The change goes to a branch of its own and
becomes one pull request, which is brought up to date when you promote again.
With --dry-run the difference is shown and nothing is written; --list shows
what differs between environments.`,
		Example: "  trueup promote --list\n  trueup promote --from test --to prod --dry-run\n  trueup promote --from test --to prod\n  trueup promote --from test --to prod --only shop --reason 'release 4711'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return a.call(func(c *api.Client) error { return a.promoteList(cmd, c, p) })
			}
			if p.From == "" || p.To == "" {
				return errors.New("name both environments with --from and --to, or look at what differs with --list")
			}
			return a.call(func(c *api.Client) error { return a.promote(cmd, c, p) })
		}}
	f := cmd.Flags()
	f.StringVar(&p.From, "from", "", "environment whose versions are taken")
	f.StringVar(&p.To, "to", "", "environment that gets them")
	f.StringSliceVar(&p.Only, "only", nil, "only these targets, by name or glob")
	f.BoolVar(&p.DryRun, "dry-run", false, "show the difference, write nothing")
	f.BoolVar(&list, "list", false, "show which versions differ")
	reasonFlag(cmd, &p.Reason)
	cmd.MarkFlagsMutuallyExclusive("list", "dry-run")
	return cmd
}

func (a *app) promote(cmd *cobra.Command, c *api.Client, p edit.Promotion) error {
	done, err := c.Promote(cmd.Context(), p)
	if err != nil {
		return err
	}
	if !a.table() {
		if err := a.print(cmd, done); err != nil {
			return err
		}
	} else {
		for _, w := range done.Items {
			tellWritten(cmd.OutOrStdout(), w)
		}
	}
	if done.Error != "" {
		return errors.New(done.Error)
	}
	return nil
}

func tellWritten(out io.Writer, w edit.Written) {
	for _, n := range w.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	if len(w.Changes) == 0 {
		return
	}
	fmt.Fprint(out, w.Diff)
	switch {
	case w.DryRun:
		fmt.Fprintf(out, "nothing was written; this is what would change in %s\n", w.Repository)
	case w.Number != 0:
		fmt.Fprintf(out, "pull request #%d of %s: %s\n", w.Number, w.Repository, w.URL)
	default:
		fmt.Fprintf(out, "branch %s of %s is at %s\n", w.Branch, w.Repository, render.Short(w.Commit))
	}
}

func (a *app) promoteList(cmd *cobra.Command, c *api.Client, p edit.Promotion) error {
	all, err := c.Promotions(cmd.Context(), p.From, p.To)
	if err != nil {
		return err
	}
	if !a.table() {
		return a.print(cmd, all)
	}
	if len(all) == 0 {
		sayf(cmd, "no target declares a promotion; see `promote` in trueup.yaml")
		return nil
	}
	var rows [][]string
	for _, x := range all {
		way := x.FromEnv + " -> " + x.Environment
		if x.Error != "" {
			rows = append(rows, []string{x.Target, way, "", "", "", x.Error})
			continue
		}
		for _, f := range x.Fields {
			state := "same"
			if f.Differs {
				state = "differs" + autoText(x)
			}
			rows = append(rows, []string{x.Target, way, f.Name, f.Have.Text, f.Want.Text, state})
		}
	}
	return render.Table(cmd.OutOrStdout(), style(cmd), []string{"TARGET", "FROM -> TO", "FIELD", "NOW", "HEALTHY BEFORE", "STATE"}, rows)
}

// autoText says how far a promotion is that goes by itself.
func autoText(x edit.Promotable) string {
	switch {
	case x.Auto == nil && x.After != "":
		return ", by itself after " + x.After
	case x.Auto == nil:
		return ""
	case x.Auto.Error != "":
		return ", " + x.Auto.Error
	case x.Auto.State == "waiting":
		after, err := time.ParseDuration(x.After)
		if err != nil {
			return ""
		}
		return ", by itself at " + x.Auto.Since.Add(after).Local().Format("2006-01-02 15:04")
	}
	return strings.TrimSuffix(", "+x.Auto.State+" "+x.Auto.URL, " ")
}

var editWord = map[store.EditKind]string{store.LiveValues: "left as is", store.WrittenBack: "write-back", store.AutoPromotion: "promotion", store.VersionUpdate: "images"}

// editText says what trueup wrote, or wants to write, into the repository.
func editText(x store.Edit) string {
	if x.Kind == store.LiveValues {
		var live []struct {
			Address string
			Field   string
			Value   edit.Value
		}
		if json.Unmarshal(x.Values, &live) != nil {
			return "values of the environment's own"
		}
		var out []string
		for _, l := range live {
			out = append(out, fmt.Sprintf("%s %s is %s", l.Address, l.Field, l.Value.Text))
		}
		return strings.Join(out, ", ")
	}
	text := string(x.State)
	switch {
	case x.State == store.EditWaiting:
		text += ", healthy since " + render.Time(x.Since)
	case x.Number != 0:
		text += fmt.Sprintf(" in #%d %s", x.Number, x.URL)
	case x.Commit != "":
		text += fmt.Sprintf(" as %s on %s", render.Short(x.Commit), x.Branch)
	}
	if x.Error != "" {
		text = strings.TrimPrefix(text+"; ", "; ") + "trouble: " + x.Error
	}
	return text
}
