package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/store"
)

// act asks for an action and says that it was taken.
func (a *app) act(cmd *cobra.Command, verb auth.Verb, x api.Action, done string) error {
	return a.call(func(c *api.Client) error {
		d, err := c.Do(cmd.Context(), verb, x)
		if err != nil {
			return err
		}
		if !a.table() {
			return a.print(cmd, d)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), done)
		return err
	})
}

func (a *app) syncCommand() *cobra.Command {
	var x api.Action
	var mode string
	var wait time.Duration
	cmd := &cobra.Command{Use: "sync TARGET | --repository NAME", Short: "Reconcile a target now, or fetch a repository now", Args: cobra.MaximumNArgs(1),
		Example: "  trueup sync infra/zone\n  trueup sync infra/zone --mode addOnly --reason 'incident 4711'\n  trueup sync infra/zone --wait 2m\n  trueup sync infra/web --limit canary,web07\n  trueup sync --repository infra",
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (x.Repository != "") {
				return errors.New("name a target, or a repository with --repository")
			}
			if x.Repository != "" {
				return a.act(cmd, auth.Poll, x, "repository "+x.Repository+" is being fetched")
			}
			x.Target = args[0]
			m, err := parseMode(mode)
			if err != nil {
				return err
			}
			x.Mode = m
			if wait > 0 {
				return a.call(func(c *api.Client) error { return a.syncAndWait(cmd, c, x, wait) })
			}
			return a.act(cmd, auth.Sync, x, "target "+x.Target+" is being reconciled; follow it with: trueup logs -f "+x.Target)
		}}
	cmd.Flags().StringVar(&x.Repository, "repository", "", "fetch this repository")
	modeFlag(cmd, &mode)
	limitFlag(cmd, &x.Limit)
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait up to this long for the run to end; it must end in sync")
	reasonFlag(cmd, &x.Reason)
	return cmd
}

func limitFlag(cmd *cobra.Command, limit *[]string) {
	cmd.Flags().StringSliceVar(limit, "limit", nil, "only these hosts, by name, group or glob (web01,canary,db*); the target as a whole stays as it is")
}

func modeFlag(cmd *cobra.Command, mode *string) {
	cmd.Flags().StringVar(mode, "mode", "", "apply (everything) or addOnly (create and update, never delete)")
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{"apply", "addOnly"}, cobra.ShellCompDirectiveNoFileComp))
}

func parseMode(text string) (plan.Mode, error) {
	switch plan.Mode(text) {
	case "", plan.Apply, plan.AddOnly:
		return plan.Mode(text), nil
	}
	return "", fmt.Errorf("--mode %s: use apply or addOnly", text)
}

// syncAndWait reconciles and waits for a verification later than the request.
func (a *app) syncAndWait(cmd *cobra.Command, c *api.Client, x api.Action, wait time.Duration) error {
	st, err := c.Status(cmd.Context())
	if err != nil {
		return err
	}
	if _, err := c.Do(cmd.Context(), auth.Sync, x); err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr())
	defer p.stop()
	p.set("reconciling " + x.Target)
	for end := time.Now().Add(wait); time.Now().Before(end); {
		t, err := c.Target(cmd.Context(), x.Target)
		if err != nil {
			return err
		}
		if done, err := a.limitedDone(cmd, c, x, st.Now); done || err != nil {
			return err
		}
		idle := len(x.Limit) == 0 && (t.Work == nil || t.Work.Owner == "" && t.Work.Observed >= t.Work.Generation)
		if idle && t.Status.Phase != store.Running {
			return a.waited(cmd, t, st.Now)
		}
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return fmt.Errorf("target %s has not ended within %s; it goes on", x.Target, wait)
}

func (a *app) waited(cmd *cobra.Command, t api.TargetDetail, since time.Time) error {
	if !a.table() {
		if err := a.print(cmd, t.Target); err != nil {
			return err
		}
	}
	if t.Status.Phase == store.Synced && !t.Status.VerifiedAt.Before(since.Truncate(time.Second)) {
		if a.table() {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is %s at %s\n", t.ID, style(cmd).Word("synced"), render.Short(t.Status.Applied))
		}
		return nil
	}
	return fmt.Errorf("target %s is %s: %s", t.ID, t.Status.Phase, strings.TrimPrefix(t.Status.Gate+": "+t.Status.Message, ": "))
}

func (a *app) approveCommand() *cobra.Command {
	var x api.Action
	cmd := &cobra.Command{Use: "approve TARGET [PLAN]", Short: "Let a held plan proceed: exactly this plan, from exactly these inputs", Args: cobra.RangeArgs(1, 2),
		Long:    "Let a held plan proceed. PLAN is the plan's hash or its first 8 or more digits,\nas `trueup show` prints it. Without it the plan is shown and you are asked.\nThe approval is void as soon as the plan or the inputs change.",
		Example: "  trueup approve infra/zone\n  trueup approve infra/zone 3f2a91c07d44 --reason 'change 4711'",
		RunE: func(cmd *cobra.Command, args []string) error {
			x.Target = args[0]
			if len(args) == 2 {
				x.PlanHash = args[1]
				return a.act(cmd, auth.Approve, x, "approved")
			}
			return a.call(func(c *api.Client) error { return a.approveShown(cmd, c, x) })
		}}
	reasonFlag(cmd, &x.Reason)
	return cmd
}

// approveShown shows the plan that waits and asks. Only a person at a terminal
// can answer: a script names the plan it has looked at.
func (a *app) approveShown(cmd *cobra.Command, c *api.Client, x api.Action) error {
	t, err := c.Target(cmd.Context(), x.Target)
	if err != nil {
		return err
	}
	if t.Status.PlanHash == "" {
		return fmt.Errorf("target %s has no plan that waits", x.Target)
	}
	p, err := c.Plan(cmd.Context(), t.Status.Run)
	if err != nil {
		return err
	}
	if err := render.Plan(cmd.OutOrStdout(), style(cmd), heldView(t, p)); err != nil {
		return err
	}
	ok, err := confirm(cmd, "Approve exactly this plan?")
	if err != nil {
		return fmt.Errorf("%w: name the plan: trueup approve %s %s", err, x.Target, render.Short(p.Hash))
	}
	if !ok {
		return errors.New("not approved")
	}
	x.PlanHash = p.Hash
	if _, err := c.Do(cmd.Context(), auth.Approve, x); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "approved")
	return err
}

func (a *app) rejectCommand() *cobra.Command {
	var x api.Action
	cmd := &cobra.Command{Use: "reject TARGET PLAN", Short: "Refuse a held plan; it stays held until the plan or its inputs change", Args: cobra.ExactArgs(2),
		Example: "  trueup reject infra/zone 3f2a91c07d44 --reason 'not before Monday'",
		RunE: func(cmd *cobra.Command, args []string) error {
			x.Target, x.PlanHash = args[0], args[1]
			return a.act(cmd, auth.Reject, x, "rejected")
		}}
	reasonFlag(cmd, &x.Reason)
	return cmd
}

// heldKind tells what a name of suspend and resume stands for.
func heldKind(cmd *cobra.Command, args []string) (kind, key string, err error) {
	env, _ := cmd.Flags().GetString("environment")
	repo, _ := cmd.Flags().GetString("repository")
	given := 0
	for _, x := range []struct{ kind, key string }{{"target", strings.Join(args, "")}, {"environment", env}, {"repository", repo}} {
		if x.key != "" {
			kind, key = x.kind, x.key
			given++
		}
	}
	if given != 1 {
		return "", "", errors.New("name one target, or one --environment, or one --repository")
	}
	return kind, key, nil
}

func heldFlags(cmd *cobra.Command) {
	cmd.Flags().String("environment", "", "a whole environment")
	cmd.Flags().String("repository", "", "all targets of a repository")
}

func (a *app) suspendCommand() *cobra.Command {
	var x api.Action
	cmd := &cobra.Command{Use: "suspend TARGET | --environment NAME | --repository NAME", Short: "Stop reconciling a target, an environment or a repository",
		Args:    cobra.MaximumNArgs(1),
		Example: "  trueup suspend infra/zone --reason 'incident 4711'\n  trueup suspend --environment dns --reason 'server is being moved'",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if x.Kind, x.Key, err = heldKind(cmd, args); err != nil {
				return err
			}
			if x.Reason == "" {
				return errors.New("say why with --reason: others will want to know")
			}
			return a.act(cmd, auth.Suspend, x, x.Kind+" "+x.Key+" is suspended")
		}}
	heldFlags(cmd)
	reasonFlag(cmd, &x.Reason)
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	var x api.Action
	cmd := &cobra.Command{Use: "resume TARGET | --environment NAME | --repository NAME", Short: "End a suspension and reconcile what it held", Args: cobra.MaximumNArgs(1),
		Example: "  trueup resume infra/zone\n  trueup resume --environment dns",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if x.Kind, x.Key, err = heldKind(cmd, args); err != nil {
				return err
			}
			return a.act(cmd, auth.Resume, x, x.Kind+" "+x.Key+" is resumed")
		}}
	heldFlags(cmd)
	return cmd
}

func (a *app) freezeCommand() *cobra.Command {
	var x api.Action
	var lift, liftRestore bool
	cmd := &cobra.Command{Use: "freeze", Short: "Hold every run that would write, everywhere; --lift ends it", Args: cobra.NoArgs,
		Example: "  trueup freeze --reason 'incident 4711'\n  trueup freeze --lift\n  trueup freeze --lift-restore",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case lift && liftRestore:
				return errors.New("--lift and --lift-restore are two things: one at a time")
			case lift:
				return a.act(cmd, auth.Unfreeze, api.Action{}, "the freeze is lifted")
			case liftRestore:
				return a.act(cmd, auth.ConfirmRestore, api.Action{}, "writing goes on after the restore")
			case x.Reason == "":
				return errors.New("say why with --reason: others will want to know")
			}
			return a.act(cmd, auth.Freeze, x, "frozen: nothing is written until `trueup freeze --lift`")
		}}
	cmd.Flags().BoolVar(&lift, "lift", false, "end the freeze")
	cmd.Flags().BoolVar(&liftRestore, "lift-restore", false, "after `trueup restore` and a look at the plans: let writing go on")
	reasonFlag(cmd, &x.Reason)
	return cmd
}

func (a *app) rollbackCommand() *cobra.Command {
	var x api.Action
	cmd := &cobra.Command{Use: "rollback TARGET", Short: "Go back to the last good commit, or to a named one, and stay there", Args: cobra.ExactArgs(1),
		Long:    "Go back to an earlier good state of a target and pin it there, until the\ntarget's own inputs change in Git or `trueup unpin`.",
		Example: "  trueup rollback infra/zone --reason 'www is down'\n  trueup rollback infra/zone --to 3f2a91c",
		RunE: func(cmd *cobra.Command, args []string) error {
			x.Target = args[0]
			return a.act(cmd, auth.Rollback, x, "target "+x.Target+" is rolled back and pinned; follow it with: trueup logs -f "+x.Target)
		}}
	cmd.Flags().StringVar(&x.Commit, "to", "", "the commit to go back to (default: the last good one before the current)")
	reasonFlag(cmd, &x.Reason)
	return cmd
}

func (a *app) unpinCommand() *cobra.Command {
	return &cobra.Command{Use: "unpin TARGET", Short: "End a rollback's pin: the target follows its repository again", Args: cobra.ExactArgs(1),
		Example: "  trueup unpin infra/zone", RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, auth.Unpin, api.Action{Target: args[0]}, "target "+args[0]+" follows its repository again")
		}}
}

func (a *app) cancelCommand() *cobra.Command {
	return &cobra.Command{Use: "cancel TARGET", Short: "Stop a target's run, also while it applies", Args: cobra.ExactArgs(1),
		Example: "  trueup cancel infra/zone", RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, auth.Cancel, api.Action{Target: args[0]}, "the run of "+args[0]+" is being stopped")
		}}
}

func (a *app) destroyCommand() *cobra.Command {
	var x api.Action
	cmd := &cobra.Command{Use: "destroy TARGET", Aliases: []string{"retire"}, Short: "Plan the removal of all that an orphaned target owns", Args: cobra.ExactArgs(1),
		Long:    "Plan the removal of all that a target owns which has left trueup.yaml. Nothing\nis removed before somebody approves the plan that comes of it.",
		Example: "  trueup destroy infra/old-zone --reason 'shop is closed'\n  trueup approve infra/old-zone",
		RunE: func(cmd *cobra.Command, args []string) error {
			x.Target = args[0]
			return a.act(cmd, auth.Destroy, x, "the removal of what "+x.Target+" owns is being planned; look at it with: trueup show "+x.Target)
		}}
	reasonFlag(cmd, &x.Reason)
	return cmd
}
