package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/auth"
	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/store"
)

// localFlags are those of plan and apply.
type localFlags struct {
	dir, ref, repository, mode string
	targets, limit             []string
	detailed                   bool
	breakGlass                 string
	// apply alone
	auto    bool
	approve []string
}

const localLong = `
The checkout is the working tree, or the commit named by --ref; nothing is
fetched. --config names the operator's configuration with the environments and
grants. What is owned is remembered in its data directory (or database), so
that a server that is started later goes on from there.

An environment that a running server manages is refused: push, and let the
server do it. --break-glass REASON does it all the same; the reason is recorded
on the server.

Exit codes: 0 success, 1 an error or a plan that was not applied,
2 with --detailed-exitcode: there are changes to make.`

func (a *app) planCommand() *cobra.Command {
	f := &localFlags{}
	cmd := &cobra.Command{Use: "plan [TARGET...]", Short: "Show what would change, straight from a checkout",
		Long:    "Show what applying a checkout would change, without a server. Nothing is\nwritten to any environment.\n" + localLong,
		Example: "  trueup plan --config server.yaml\n  trueup plan zone --ref v1.2.0\n  trueup plan --detailed-exitcode -o json\n  trueup plan web --limit web01,canary",
		RunE: func(cmd *cobra.Command, args []string) error {
			f.targets = append(f.targets, args...)
			return a.local(cmd, f, false)
		}}
	f.add(cmd)
	return cmd
}

func (a *app) applyCommand() *cobra.Command {
	f := &localFlags{}
	cmd := &cobra.Command{Use: "apply [TARGET...]", Short: "Apply a checkout, after showing the plan and asking",
		Long:    "Apply a checkout without a server: plan, show, ask, apply, read back. The same\nguards and approvals hold as on a server. A plan that they hold is applied only\nwith --approve and its hash: exactly that plan.\n" + localLong,
		Example: "  trueup apply --config server.yaml\n  trueup apply zone --auto-approve\n  trueup apply --approve 3f2a91c07d44 --reason 'change 4711'\n  trueup apply --mode addOnly\n  trueup apply web --limit 'web0*'",
		RunE: func(cmd *cobra.Command, args []string) error {
			f.targets = append(f.targets, args...)
			return a.local(cmd, f, true)
		}}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.auto, "auto-approve", false, "don't ask (guards and approvals still hold)")
	cmd.Flags().StringSliceVar(&f.approve, "approve", nil, "hash of a held plan to let through (8 or more digits)")
	return cmd
}

func (f *localFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.dir, "dir", ".", "directory in the checkout")
	fl.StringVar(&f.ref, "ref", "", "commit, branch or tag to take instead of the working tree")
	fl.StringVar(&f.repository, "repository", "", "the checkout's name in the configuration (default: by its remote's URL, or the only one)")
	fl.StringSliceVar(&f.targets, "target", nil, "only this target; may be given again")
	limitFlag(cmd, &f.limit)
	fl.StringVar(&f.breakGlass, "break-glass", "", "reason for going past a server that manages the environment")
	fl.BoolVar(&f.detailed, "detailed-exitcode", false, "exit with 2 when there are changes to make")
	modeFlag(cmd, &f.mode)
}

// session is a local engine on a checkout.
type session struct {
	app    *app
	cmd    *cobra.Command
	flags  *localFlags
	cfg    *config.Server
	engine *engine.Engine
	store  store.Store
	print  *progress
	// shown holds the targets whose plan is printed already.
	shown map[string]bool
	// refused tells that a plan was not applied.
	refused bool
}

func (a *app) local(cmd *cobra.Command, f *localFlags, apply bool) error {
	mode, err := parseMode(f.mode)
	if err != nil {
		return err
	}
	for _, h := range f.approve {
		if len(h) < 8 {
			return fmt.Errorf("--approve %s: give 8 or more digits of the plan's hash", h)
		}
	}
	cfg, err := a.operator(cmd)
	if err != nil {
		return err
	}
	s := &session{app: a, cmd: cmd, flags: f, cfg: cfg, print: newProgress(cmd.ErrOrStderr()), shown: map[string]bool{}}
	defer s.print.stop()
	closeStore, err := s.open(cmd.Context(), f.breakGlass)
	if err != nil {
		return err
	}
	defer closeStore()
	results, err := s.run(cmd.Context(), mode, apply)
	s.print.stop()
	if err != nil {
		return err
	}
	return s.report(results, apply)
}

func (s *session) run(ctx context.Context, mode plan.Mode, apply bool) ([]engine.LocalResult, error) {
	s.print.set("reading the checkout")
	co, err := openCheckout(ctx, s.flags.dir, s.flags.ref)
	if err != nil {
		return nil, err
	}
	name, err := repositoryName(s.cfg, s.flags.repository, co.remote)
	if err != nil {
		return nil, err
	}
	id := auth.Local()
	o := engine.LocalOptions{Snapshot: co.snapshot, Revision: co.revision, Repository: name, Targets: s.flags.targets, Limit: s.flags.limit, Apply: apply, Mode: mode,
		By: engine.Approver{Actor: id.Actor, Teams: s.teams()}, Reason: s.flags.breakGlass,
		Confirm:  s.confirm,
		Progress: func(target, phase string) { s.print.set(target + ": " + phase) }}
	results, diags, err := s.engine.Local(ctx, o)
	s.print.clear()
	if err != nil {
		return nil, err
	}
	if derr := diags.Err(); derr != nil {
		return nil, diags
	}
	if len(diags) > 0 {
		err = render.Diagnostics(s.cmd.ErrOrStderr(), render.For(s.cmd.ErrOrStderr()), diags)
	}
	return results, err
}

// teams are those that the configuration gives the account that runs this.
func (s *session) teams() []string {
	name, _, _ := strings.Cut(strings.TrimPrefix(string(auth.Local().Actor), "cli:"), "@")
	if u := s.cfg.Users[name]; u != nil {
		return u.Teams
	}
	return nil
}

// confirm shows a plan and decides whether to apply it.
func (s *session) confirm(r engine.LocalResult) bool {
	s.print.clear()
	s.show(r)
	if r.Held != "" {
		if slices.ContainsFunc(s.flags.approve, func(h string) bool { return strings.HasPrefix(r.Hash, h) }) {
			return true
		}
		s.refused = true
		return false
	}
	if s.flags.auto || len(s.flags.approve) > 0 {
		return true
	}
	ok, err := confirm(s.cmd, "Apply this plan?")
	if err != nil {
		sayf(s.cmd, "%v: use --auto-approve", err)
	} else if !ok {
		sayf(s.cmd, "not applied")
	}
	s.refused = s.refused || !ok
	return ok
}

// show prints a target's plan for people.
func (s *session) show(r engine.LocalResult) {
	if !s.app.table() || r.Plan == nil || s.shown[r.Target.ID] {
		return
	}
	s.shown[r.Target.ID] = true
	v := render.View{Plan: r.Plan, Hash: r.Hash, Environment: r.Target.Environment}
	if r.Held != "" {
		v.Held = []string{string(r.Gate) + ": " + r.Held}
		if r.Gate == engine.GateApproval || r.Gate == engine.GateGuard {
			v.Next = []string{"let it through: trueup apply " + r.Target.Name + " --approve " + render.Short(r.Hash)}
		}
	}
	_ = render.Plan(s.cmd.OutOrStdout(), style(s.cmd), v)
}

// report prints what became of all and chooses the exit code.
func (s *session) report(results []engine.LocalResult, apply bool) error {
	failed, pending := 0, false
	for _, r := range results {
		if r.Err != nil {
			failed++
		}
		pending = pending || r.Plan != nil && !r.Plan.Empty() && !r.Applied
	}
	if !s.app.table() {
		if err := s.app.print(s.cmd, api.List[engine.LocalResult]{Items: notNil(results)}); err != nil {
			return err
		}
	} else if err := s.tell(results); err != nil {
		return err
	}
	switch {
	case failed > 0:
		return errSilent
	case pending && s.flags.detailed:
		return errPending
	case apply && s.refused:
		return errSilent
	}
	return nil
}

func (s *session) tell(results []engine.LocalResult) error {
	for _, r := range results {
		s.show(r)
		if len(r.Diagnostics) > 0 {
			if err := render.Diagnostics(s.cmd.ErrOrStderr(), render.For(s.cmd.ErrOrStderr()), r.Diagnostics); err != nil {
				return err
			}
		}
		var ds plan.Diagnostics
		switch {
		case r.Err != nil && !(errors.As(r.Err, &ds) && len(r.Diagnostics) > 0):
			sayf(s.cmd, "%s %s: %s", render.For(s.cmd.ErrOrStderr()).Bad("error:"), render.Line(r.Target.ID), render.Clean(r.Err.Error()))
		case r.Applied:
			fmt.Fprintf(s.cmd.OutOrStdout(), "%s %s: applied and read back\n", style(s.cmd).Good("✓"), render.Line(r.Target.ID))
		}
	}
	return nil
}

// repositoryName finds under which name the configuration knows the checkout.
func repositoryName(cfg *config.Server, given, remote string) (string, error) {
	names := make([]string, 0, len(cfg.Repositories))
	for n := range cfg.Repositories {
		names = append(names, n)
	}
	slices.Sort(names)
	if given != "" {
		if cfg.Repositories[given] == nil {
			return "", fmt.Errorf("the configuration has no repository %q; it has: %s", given, strings.Join(names, ", "))
		}
		return given, nil
	}
	for _, n := range names {
		if remote != "" && sameURL(cfg.Repositories[n].URL, remote) {
			return n, nil
		}
	}
	if len(names) == 1 {
		return names[0], nil
	}
	return "", fmt.Errorf("which repository of the configuration is this checkout? Say --repository with one of: %s", strings.Join(names, ", "))
}

func sameURL(a, b string) bool {
	trim := func(s string) string {
		return strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(s, "file://"), "/"), ".git")
	}
	return trim(a) == trim(b)
}

// quiet is the log of local work: the plan says what matters.
func quiet() *slog.Logger {
	if os.Getenv("TRUEUP_DEBUG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// absolute gives a path as seen from the working directory.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// answers tells whether a server answers on a socket.
func answers(ctx context.Context, socket string) bool {
	if !exists(socket) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c, err := api.Dial(socket, noToken)
	if err != nil {
		return false
	}
	defer c.Close()
	_, err = c.Status(ctx)
	return !errors.Is(err, api.ErrNoServer)
}
