package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/agent/host"
	"trueup.dev/trueup/internal/agent/mailbox"
	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/store"
)

// agents joins the mailbox with the engine behind it.
type agents struct {
	*mailbox.Office
	engine *engine.Engine
}

// Hosts gives the hosts of all inventories that call in.
func (a *agents) Hosts(ctx context.Context) ([]driver.Host, error) { return a.engine.Hosts(ctx) }

func (a *agents) alone(ctx context.Context, host, target string) (wire.Alone, error) {
	return a.engine.Alone(ctx, host, target)
}

// agentDir is where an agent keeps its key and what it last applied.
const agentDir = "/var/lib/trueup-agent"

const agentLong = `Pull mode: a host that the server can't reach runs an agent that calls out to
the server over HTTPS, and plans and applies there what the server asks for.
Gates, approvals, history and inventory stay with the server; the host gets its
own content only, and no credential of a repository.

On the server: enrol-token, list and revoke. On the host: enrol, then run.`

func (a *app) agentCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "agent", Short: "Hosts that call in: enrol them, run their agent", Long: agentLong,
		Example: "  trueup agent enrol-token web1 > web1.token\n  trueup agent list\n  trueup agent revoke web1 --reason stolen\n\n" +
			"  trueup agent enrol --server https://trueup.example.com:8443 --token-file web1.token --ca ca.pem\n  trueup agent run"}
	cmd.AddCommand(a.agentToken(), a.agentList(), a.agentRevoke(), a.agentEnrol(), a.agentRun())
	return cmd
}

func (a *app) agentToken() *cobra.Command {
	var q api.AgentToken
	cmd := &cobra.Command{Use: "enrol-token [HOST]", Short: "Make a one-time token with which a host enrols", Args: cobra.MaximumNArgs(1),
		Long:    "Make a token that lets the agent of one host enrol once, or with --group the\nagent of each host of a group that has none yet. The token is printed to stdout and kept\nnowhere; the server keeps its hash.",
		Example: "  trueup agent enrol-token web1 > web1.token\n  trueup agent enrol-token --group branch-offices --ttl 24h -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				q.Host = args[0]
			}
			if (q.Host == "") == (q.Group == "") {
				return errors.New("name either a host or a --group")
			}
			return a.call(func(c *api.Client) error {
				made, err := c.AgentToken(cmd.Context(), q)
				if err != nil {
					return err
				}
				if !made.Listed {
					sayf(cmd, "Note: no inventory has the host %s with `agent: true` yet.", q.Host)
				}
				if !a.table() {
					return a.print(cmd, made)
				}
				sayf(cmd, "Good once for each of %d host(s) until %s.", len(made.Hosts), made.Until.Local().Format(time.DateTime))
				_, err = fmt.Fprintln(cmd.OutOrStdout(), made.Token)
				return err
			})
		}}
	cmd.Flags().StringVar(&q.Group, "group", "", "one token for all hosts of this group of the inventory that have agent: true")
	cmd.Flags().StringVar(&q.TTL, "ttl", "1h", "how long the token may be used")
	reasonFlag(cmd, &q.Reason)
	return cmd
}

func (a *app) agentList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the hosts that call in", Args: cobra.NoArgs,
		Example: "  trueup agent list\n  trueup agent list -o json", RunE: func(cmd *cobra.Command, _ []string) error {
			return a.call(func(c *api.Client) error {
				list, err := c.Agents(cmd.Context())
				if err != nil {
					return err
				}
				if !a.table() {
					return a.print(cmd, api.List[store.Agent]{Items: notNil(list)})
				}
				now := time.Now()
				s := style(cmd)
				var rows [][]string
				for _, x := range list {
					seen := "never"
					if !x.SeenAt.IsZero() {
						seen = render.Age(now, x.SeenAt) + " ago"
					}
					rows = append(rows, []string{render.Line(x.Host), s.Word(string(x.State)), seen, render.Line(strings.TrimPrefix(x.Version, "trueup-agent/")),
						render.Line(x.Address), x.ExpiresAt.Local().Format(time.DateOnly), render.Line(string(x.EnrolledBy))})
				}
				return a.rows(cmd, "no agents", []string{"HOST", "STATE", "SEEN", "VERSION", "ADDRESS", "KEY UNTIL", "ENROLLED BY"}, rows)
			})
		}}
}

func (a *app) agentRevoke() *cobra.Command {
	var reason string
	cmd := &cobra.Command{Use: "revoke HOST", Short: "Shut a host's agent out at once", Args: cobra.ExactArgs(1),
		Long:    "Shut a host's agent out at once: its requests end and its calls are refused.\nWhat is on the host stays as it is. A new token lets it enrol again.",
		Example: "  trueup agent revoke web1 --reason stolen",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.call(func(c *api.Client) error {
				if err := c.RevokeAgent(cmd.Context(), args[0], reason); err != nil {
					return err
				}
				sayf(cmd, "The agent of %s is revoked.", args[0])
				return nil
			})
		}}
	reasonFlag(cmd, &reason)
	return cmd
}

func (a *app) agentEnrol() *cobra.Command {
	var o host.EnrolOptions
	var ca string
	cmd := &cobra.Command{Use: "enrol", Short: "Enrol this host with a token", Args: cobra.NoArgs,
		Long:    "Make a key on this host, which never leaves it, and register it with the server\nby a one-time token. --ca names the PEM file of the authority that signed the\nserver's certificate; without it the system's authorities count.",
		Example: "  trueup agent enrol --server https://trueup.example.com:8443 --token-file web1.token --ca ca.pem\n  trueup agent enrol --server https://trueup.example.com --token-file t --host web1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.server == "" || a.tokenFile == "" {
				return errors.New("name the server with --server https://… and the token's file with --token-file")
			}
			token, err := a.token()
			if err != nil {
				return err
			}
			if ca != "" {
				if o.CA, err = readSmall(ca); err != nil {
					return err
				}
			}
			if o.Host == "" {
				if o.Host, err = os.Hostname(); err != nil {
					return err
				}
			}
			o.Server, o.Token, o.Version = a.server, token, Version
			id, err := host.Enrol(cmd.Context(), o)
			if err != nil {
				return err
			}
			if !a.table() {
				return a.print(cmd, map[string]any{"host": id.Host, "server": id.Server, "expires": id.Expires})
			}
			sayf(cmd, "%s is enrolled with %s. Start the agent: trueup agent run", id.Host, id.Server)
			return nil
		}}
	cmd.Flags().StringVar(&o.Dir, "state-dir", agentDir, "where the agent keeps its key and what it last applied")
	cmd.Flags().StringVar(&o.Host, "host", "", "this host's name in the inventory (default: its hostname)")
	cmd.Flags().StringVar(&ca, "ca", "", "PEM file of the authority that signed the server's certificate")
	return cmd
}

func (a *app) agentRun() *cobra.Command {
	var o host.Options
	var level, format string
	cmd := &cobra.Command{Use: "run", Short: "Run this host's agent", Args: cobra.NoArgs,
		Long:    "Run the agent: ask the server for requests and answer them. While the server is\naway for longer than --away, drift is corrected back to what was last approved\nand applied, where the policy lets the server do the same by itself; what was\ndone is reported when the server is back. SIGTERM stops the agent and lets an\napply come to a safe end.",
		Example: "  trueup agent run\n  trueup agent run --state-dir /var/lib/trueup-agent --away 10m --log-format text",
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLog(cmd, level, format)
			if err != nil {
				return err
			}
			o.Drivers, o.Version, o.Log = registry(), Version, log
			ag, err := host.New(o)
			if err != nil {
				return err
			}
			return ag.Run(cmd.Context())
		}}
	cmd.Flags().StringVar(&o.Dir, "state-dir", agentDir, "where the agent keeps its key and what it last applied")
	cmd.Flags().DurationVar(&o.Away, "away", 5*time.Minute, "how long the server must be away before drift is corrected without it")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&format, "log-format", "json", "json or text")
	return cmd
}

// readSmall reads a file of at most 1 MiB.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<20))
}
