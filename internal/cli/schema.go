package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/config"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{Use: "schema " + strings.Join(config.Kinds, "|"), Short: "Print the JSON Schema of server.yaml or trueup.yaml", Args: cobra.ExactArgs(1),
		ValidArgs: config.Kinds,
		Example:   "  trueup schema trueup > trueup.schema.json\n  trueup schema server > server.schema.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := config.Schema(args[0], registry())
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(body)
			return err
		}}
}
