package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/secret"
)

// app is what the commands share: the global flags.
type app struct {
	server, tokenFile, config, dataDir, format string
}

func (a *app) checkFormat() error {
	switch a.format {
	case "table", "json", "yaml":
		return nil
	}
	return fmt.Errorf("-o %s: use table, json or yaml", a.format)
}

// table tells whether people are to read the output.
func (a *app) table() bool { return a.format == "table" }

// print writes a value as JSON or YAML.
func (a *app) print(cmd *cobra.Command, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	out := b.Bytes()
	if a.format == "yaml" {
		var err error
		if out, err = yaml.JSONToYAML(out); err != nil {
			return err
		}
	}
	_, err := cmd.OutOrStdout().Write(out)
	return err
}

// rows writes a table, or says that there is nothing.
func (a *app) rows(cmd *cobra.Command, none string, head []string, rows [][]string) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(cmd.ErrOrStderr(), none)
		return err
	}
	return render.Table(cmd.OutOrStdout(), style(cmd), head, rows)
}

func style(cmd *cobra.Command) render.Style { return render.For(cmd.OutOrStdout()) }

// sayf writes a line for people to stderr.
func sayf(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
}

// client connects to the server that the flags name.
func (a *app) client() (*api.Client, error) {
	address, err := a.address()
	if err != nil {
		return nil, err
	}
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	return api.Dial(address, token)
}

// token reads the token file; a file that others can read is refused.
func (a *app) token() (secret.Value, error) {
	if a.tokenFile == "" {
		return secret.Value{}, nil
	}
	f, err := os.Open(a.tokenFile)
	if err != nil {
		return secret.Value{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return secret.Value{}, err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return secret.Value{}, fmt.Errorf("%s can be read by others: chmod 600 %s", a.tokenFile, a.tokenFile)
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return secret.Value{}, err
	}
	return secret.New(strings.TrimSpace(string(b))), nil
}

// call runs f with a client and adds to a missing server what to do about it.
func (a *app) call(f func(c *api.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	err = f(c)
	if errors.Is(err, api.ErrNoServer) {
		return fmt.Errorf("%w (start one with `trueup serve`, or name it with --server or --config)", err)
	}
	return err
}

// reasonFlag adds --reason.
func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "why; it is kept in the history")
}
