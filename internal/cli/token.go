package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/auth"
)

func (a *app) tokenCommand() *cobra.Command {
	var role string
	cmd := &cobra.Command{Use: "token [USER]", Short: "Make a token for the API over TCP", Args: cobra.MaximumNArgs(1),
		Long:    "Make a token. The token itself is printed once, to stdout, and kept nowhere;\nwhat goes into the operator's configuration is its hash, printed to stderr.",
		Example: "  trueup token alice > alice.token\n  trueup token ci --role operator > ci.token",
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "USER"
			if len(args) == 1 {
				name = args[0]
			}
			if !auth.Role(role).Valid() {
				return fmt.Errorf("--role %s: use viewer, operator, approver or admin", role)
			}
			token, hash := auth.NewToken()
			if !a.table() {
				return a.print(cmd, map[string]string{"token": token, "tokenHash": hash})
			}
			sayf(cmd, "Put this into server.yaml and reload; keep the token in a file with mode 600:\n\nusers:\n  %s:\n    tokenHash: %s\n    role: %s\n", name, hash, role)
			_, err := fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		}}
	cmd.Flags().StringVar(&role, "role", "viewer", "viewer, operator, approver or admin; shown in the example")
	return cmd
}
