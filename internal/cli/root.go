// Package cli is the command line: every verb is one command in its own file.
// What needs a running server asks its API; plan, apply, validate, import and
// doctor also work without one.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/render"
)

// Version of the program; the build sets it.
var Version = "dev"

// errPending ends a command with exit code 2: it worked, and there are changes
// to make.
var errPending = errors.New("changes are pending")

// errSilent ends a command with exit code 1 when all has been said already.
var errSilent = errors.New("failed")

// Exit codes, as in the help.
const (
	exitOK      = 0
	exitError   = 1
	exitPending = 2
	// exitStricter is of policy test alone.
	exitStricter = 3
)

const rootLong = `trueup applies the desired state in Git to the systems people run.

A repository says in trueup.yaml what is desired; the operator says in
server.yaml which environments there are and who may use which part of them.

Exit codes: 0 success, 1 an error, 2 pending changes (plan and apply with
--detailed-exitcode).

Environment variables: TRUEUP_SERVER or TRUEUP_SOCKET, TRUEUP_TOKEN_FILE,
TRUEUP_CONFIG and TRUEUP_DATA_DIR stand for the flags of these names; NO_COLOR
turns colours off.`

// Main runs the program and gives its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := New()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return exitCode(root.ExecuteContext(ctx), stderr)
}

func exitCode(err error, stderr io.Writer) int {
	var ds plan.Diagnostics
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errPending):
		return exitPending
	case errors.Is(err, errStricter):
		return exitStricter
	case errors.Is(err, errSilent):
		return exitError
	case errors.As(err, &ds):
		_ = render.Diagnostics(stderr, render.For(stderr), ds)
		return exitError
	}
	fmt.Fprintf(stderr, "%s %s\n", render.For(stderr).Bad("error:"), render.Clean(err.Error()))
	return exitError
}

// New makes the command with all its verbs.
func New() *cobra.Command {
	a := &app{}
	root := &cobra.Command{Use: "trueup", Short: "Apply the desired state in Git to the systems people run", Long: rootLong,
		SilenceUsage: true, SilenceErrors: true, Version: Version}
	root.SetVersionTemplate("trueup {{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVar(&a.server, "server", firstEnv("TRUEUP_SERVER", "TRUEUP_SOCKET"), "Unix socket or URL of the server (default: the socket of the data directory)")
	f.StringVar(&a.tokenFile, "token-file", os.Getenv("TRUEUP_TOKEN_FILE"), "file with the token for a server at a URL")
	f.StringVar(&a.config, "config", os.Getenv("TRUEUP_CONFIG"), "the operator's configuration, server.yaml")
	f.StringVar(&a.dataDir, "data-dir", os.Getenv("TRUEUP_DATA_DIR"), "data directory (default: as in the configuration)")
	f.StringVarP(&a.format, "output", "o", "table", "output: table, json or yaml")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.checkFormat() }
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddGroup(&cobra.Group{ID: "start", Title: "Start:"}, &cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "act", Title: "Act:"}, &cobra.Group{ID: "operate", Title: "Operate:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("start", a.initCommand(), a.validateCommand(), a.planCommand(), a.applyCommand(), a.importCommand())
	add("look", a.statusCommand(), a.getCommand(), a.showCommand(), a.logsCommand(), a.eventsCommand(), a.historyCommand(), a.whyCommand(), a.auditCommand())
	add("act", a.syncCommand(), a.approveCommand(), a.rejectCommand(), a.suspendCommand(), a.resumeCommand(), a.freezeCommand(),
		a.promoteCommand(), a.imagesCommand(), a.rollbackCommand(), a.unpinCommand(), a.cancelCommand(), a.destroyCommand(), a.stateCommand())
	add("operate", a.serveCommand(), a.agentCommand(), a.doctorCommand(), a.webhookCommand(), a.backupCommand(), a.restoreCommand(), a.tokenCommand(), a.policyCommand(), a.schemaCommand(), a.versionCommand())
	return root
}

func firstEnv(names ...string) string {
	for _, n := range names {
		if v := os.Getenv(n); v != "" {
			return v
		}
	}
	return ""
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Say which version this is", Args: cobra.NoArgs, Example: "  trueup version -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.format != "table" {
				return a.print(cmd, map[string]string{"version": Version})
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "trueup", Version)
			return err
		}}
}
