package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	registries "trueup.dev/trueup/internal/client/registry"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/secret"
)

// openRegistries gives a client for what one repository may follow. Tags
// change, so that nothing of them is kept on disk.
func openRegistries(all []*config.Registry, dir string, resolve func(context.Context, secret.Ref) (secret.Value, error)) (engine.Registries, error) {
	o := registries.Options{Secret: resolve, Dir: dir, UserAgent: "trueup/" + Version}
	for _, r := range all {
		o.Sources = append(o.Sources, r.Source)
	}
	return registries.New(o)
}

func (a *app) imagesCommand() *cobra.Command {
	list := a.imagesList()
	cmd := &cobra.Command{Use: "images [TARGET...]", Short: "Show the images and charts that targets follow, and ask for newer ones",
		Long: `Show what targets follow with ` + "`images`" + ` in trueup.yaml: which version is in use,
which is the newest that fits the rule, and what became of its pull request.
The server asks the registries at the interval that server.yaml gives each;
` + "`trueup images check`" + ` asks them now.`,
		Example: "  trueup images\n  trueup images 'shop-*'\n  trueup images check --dry-run", RunE: list.RunE}
	cmd.AddCommand(list, a.imagesCheck())
	return cmd
}

func (a *app) imagesList() *cobra.Command {
	return &cobra.Command{Use: "list [TARGET...]", Short: "Show what is followed, as the registries told last",
		Example: "  trueup images list\n  trueup images list -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.call(func(c *api.Client) error {
				all, err := c.Images(cmd.Context(), args)
				if err != nil {
					return err
				}
				return a.tellFollowed(cmd, all)
			})
		}}
}

func (a *app) imagesCheck() *cobra.Command {
	var check edit.Check
	cmd := &cobra.Command{Use: "check [TARGET...]", Short: "Ask the registries now", Long: `Ask the registries now, whatever the interval. What is newer is shown with the
change that it would make, and is proposed as at every look; with --dry-run it
is shown, and nothing follows.`,
		Example: "  trueup images check\n  trueup images check shop --dry-run",
		RunE: func(cmd *cobra.Command, args []string) error {
			check.Only = args
			return a.call(func(c *api.Client) error {
				all, err := c.CheckImages(cmd.Context(), check)
				if err != nil {
					return err
				}
				if err := a.tellFollowed(cmd, all); err != nil || !a.table() {
					return err
				}
				tellUpdates(cmd.OutOrStdout(), all)
				return nil
			})
		}}
	cmd.Flags().BoolVar(&check.DryRun, "dry-run", false, "only show what is newer")
	return cmd
}

func (a *app) tellFollowed(cmd *cobra.Command, all []edit.Followed) error {
	if !a.table() {
		return a.print(cmd, all)
	}
	if len(all) == 0 {
		sayf(cmd, "no target follows an image or chart; see `images` in trueup.yaml")
		return nil
	}
	var rows [][]string
	for _, f := range all {
		rows = append(rows, []string{f.Target, f.Image, f.Rule, f.InUse, f.Newest, lookedText(f.Looked), stateText(f)})
	}
	return render.Table(cmd.OutOrStdout(), style(cmd), []string{"TARGET", "IMAGE", "FOLLOWS", "IN USE", "NEWEST", "LOOKED", "STATE"}, rows)
}

func lookedText(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return render.Time(at)
}

// stateText says in one line how it stands with an image.
func stateText(f edit.Followed) string {
	text := f.State
	switch f.State {
	case edit.FollowedUnknown:
		text = "not looked at yet"
	case edit.FollowedNewer:
		text = "a newer one is in use"
	case edit.FollowedNone:
		text = "nothing fits"
	}
	if p := f.Proposal; p != nil {
		text += ", " + strings.TrimSpace(p.State+" "+p.URL)
		if p.Error != "" {
			text += ", trouble: " + p.Error
		}
	}
	if f.Error != "" {
		text += ", trouble: " + f.Error
	}
	if len(f.Notes) > 0 {
		text += "; " + strings.Join(f.Notes, "; ")
	}
	return text
}

func tellUpdates(out io.Writer, all []edit.Followed) {
	for _, f := range all {
		for _, c := range f.Changes {
			fmt.Fprintf(out, "%s: %s: %s -> %s\n", f.Target, c.File, c.From.Text, c.To.Text)
		}
	}
}
