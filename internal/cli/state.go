package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/auth"
)

func (a *app) stateCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "state", Short: "Work on the state of an OpenTofu or Terraform target",
		Long: "Work on the state of an OpenTofu or Terraform target, through the server. None\n" +
			"of it touches the infrastructure. What changes a state takes a reason, is\n" +
			"refused while a run is under way, and is recorded.",
		Example: "  trueup state list infra/network\n  trueup state recover infra/network --reason 'bucket is writable again'"}
	list := &cobra.Command{Use: "list TARGET", Short: "List the addresses that a state holds", Args: cobra.ExactArgs(1),
		Example: "  trueup state list infra/network", RunE: func(cmd *cobra.Command, args []string) error {
			return a.doState(cmd, auth.ListState, api.Action{Target: args[0]})
		}}
	cmd.AddCommand(list,
		a.stateChange("mv TARGET FROM TO", "Give a resource another address",
			"A `moved` block in the code is better: it is reviewed, and kept.",
			"  trueup state mv infra/network aws_vpc.old aws_vpc.new --reason 'renamed by hand'", cobra.ExactArgs(3)),
		a.stateChange("rm TARGET ADDRESS...", "Let a state forget resources, which stay as they are",
			"A `removed` block in the code is better: it is reviewed, and kept.",
			"  trueup state rm infra/network aws_vpc.old --reason 'moves to another team'", cobra.MinimumNArgs(2)),
		a.stateChange("force-unlock TARGET LOCK", "Give a lock free that nobody holds any more",
			"Make sure first that whoever took the lock is not at work: two writers damage a\nstate. The id stands in the message of the run that waited for the lock.",
			"  trueup state force-unlock infra/network 9db590f1-b6fe-c5f2-2678-8804f089deba --reason 'runner died'", cobra.ExactArgs(2)),
		a.stateChange("recover TARGET", "Bring back a state that an apply could not write",
			"An apply that can't write its state saves it, encrypted, and nothing is planned\nuntil it is back in its backend.",
			"  trueup state recover infra/network --reason 'bucket is writable again'", cobra.ExactArgs(1)))
	return cmd
}

func (a *app) stateChange(use, short, long, example string, args cobra.PositionalArgs) *cobra.Command {
	var x api.Action
	op, _, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if x.Reason == "" {
				return errors.New("say why with --reason: it is recorded")
			}
			x.Target, x.Op, x.Args = args[0], op, args[1:]
			return a.doState(cmd, auth.ChangeState, x)
		}}
	reasonFlag(cmd, &x.Reason)
	return cmd
}

func (a *app) doState(cmd *cobra.Command, verb auth.Verb, x api.Action) error {
	return a.call(func(c *api.Client) error {
		d, err := c.Do(cmd.Context(), verb, x)
		if err != nil {
			return err
		}
		if d.State == nil {
			return errors.New("the server gave no answer about the state")
		}
		if !a.table() {
			return a.print(cmd, d.State)
		}
		out := strings.Join(d.State.Addresses, "\n")
		if d.State.Message != "" {
			out = d.State.Message
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), out)
		return err
	})
}
