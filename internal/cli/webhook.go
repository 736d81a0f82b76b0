package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/engine"
	"trueup.dev/trueup/internal/source/forge"
)

func (a *app) webhookCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "webhook", Short: "Set up a repository's webhook at its forge",
		Long:    "Set up, look at or remove the webhook by which a forge tells trueup about pushes,\npull requests and comments. It is done through the forge's API, with the\ncredentials of the repository's `forge:`, which need the right to manage\nwebhooks. Without a webhook everything works as well, at the pace of `poll:`.",
		Example: "  trueup webhook install infra\n  trueup webhook list infra\n  trueup webhook delete infra"}
	cmd.AddCommand(a.webhookInstall(), a.webhookList(), a.webhookDelete())
	return cmd
}

// hookAt is a repository's webhook: the forge that has it, and where it points.
type hookAt struct {
	conf  *config.Repository
	cfg   *config.Server
	forge forge.Forge
	admin forge.HookAdmin
	url   string // "" where the configuration does not say
}

// webhookURL is where forges deliver to for a repository, "" where the
// configuration has no public address.
func webhookURL(cfg *config.Server, repository string) string {
	if cfg.Listen.PublicURL == "" {
		return ""
	}
	return strings.TrimRight(cfg.Listen.PublicURL, "/") + "/webhook/" + url.PathEscape(repository)
}

func (a *app) hook(cmd *cobra.Command, repository, at string) (*hookAt, error) {
	cfg, err := a.operator(cmd)
	if err != nil {
		return nil, err
	}
	r := cfg.Repositories[repository]
	if r == nil {
		return nil, fmt.Errorf("there is no repository %q in the configuration", repository)
	}
	if r.Forge == nil {
		return nil, fmt.Errorf("repository %s: add forge: with the kind of forge and its credentials; without one trueup can't manage webhooks, but a hook of your own may call the endpoint", repository)
	}
	f, err := engine.OpenForge(cmd.Context(), forges(), resolvers(cfg), cfg.Dir, r, quiet())
	if err != nil {
		return nil, err
	}
	admin, ok := f.(forge.HookAdmin)
	if !ok {
		return nil, fmt.Errorf("repository %s: webhooks of %s can't be managed through its API", repository, f.Info().Name)
	}
	if at == "" {
		at = webhookURL(cfg, repository)
	}
	return &hookAt{conf: r, cfg: cfg, forge: f, admin: admin, url: at}, nil
}

// needURL asks for the address where it is needed.
func (h *hookAt) needURL() error {
	if h.url == "" {
		return errors.New("the address that the forge is to call is not known: set listen.publicURL in server.yaml, or give --url")
	}
	u, err := url.Parse(h.url)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return errors.New("--url: write the whole address, such as https://trueup.example.com/webhook/infra")
	}
	return nil
}

// explain adds what to do about a refusal.
func (h *hookAt) explain(err error) error {
	if !errors.Is(err, forge.ErrDenied) && !errors.Is(err, forge.ErrNotFound) {
		return err
	}
	return fmt.Errorf("%w; the credentials need the right to manage webhooks, or set it up by hand: docs/forges says how", err)
}

// secret gives the first of the repository's webhook secrets.
func (h *hookAt) secret(ctx context.Context) (string, error) {
	if len(h.conf.WebhookSecrets) == 0 {
		return "", fmt.Errorf("repository %s: set webhookSecrets first; without a secret there is no endpoint", h.conf.Name)
	}
	v, err := resolvers(h.cfg).Resolve(ctx, h.conf.WebhookSecrets[0])
	if err != nil {
		return "", fmt.Errorf("repository %s: webhookSecrets[0]: %w", h.conf.Name, err)
	}
	if len(v.Reveal()) < minWebhookSecret {
		return "", fmt.Errorf("repository %s: webhookSecrets[0] has fewer than %d characters; use random ones, such as from `openssl rand -hex 32`", h.conf.Name, minWebhookSecret)
	}
	return v.Reveal(), nil
}

// hookRow is a webhook as it is printed.
type hookRow struct {
	ID        string   `json:"id"`
	URL       string   `json:"url"`
	Ours      bool     `json:"ours"`
	Active    bool     `json:"active"`
	Events    []string `json:"events"`
	LastError string   `json:"lastError,omitempty"`
}

func (h *hookAt) row(x forge.Hook) hookRow {
	return hookRow{ID: x.ID, URL: x.URL, Ours: x.URL == h.url, Active: x.Active, Events: x.Events, LastError: x.LastError}
}

func (a *app) webhookInstall() *cobra.Command {
	var at string
	cmd := &cobra.Command{Use: "install REPOSITORY", Short: "Create the webhook, or bring it up to date", Args: cobra.ExactArgs(1),
		Long:    "Create the webhook at the forge with the events that trueup acts on and the\nfirst of the repository's webhookSecrets, or bring the one with that address up\nto date. To change the secret without losing a delivery, put the new one first\nin webhookSecrets, let the server reload, run this, then take the old one out.",
		Example: "  trueup webhook install infra\n  trueup webhook install infra --url https://hooks.example.com/webhook/infra",
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.hook(cmd, args[0], at)
			if err != nil {
				return err
			}
			if err := h.needURL(); err != nil {
				return err
			}
			key, err := h.secret(cmd.Context())
			if err != nil {
				return err
			}
			got, err := h.admin.PutHook(cmd.Context(), forge.Hook{URL: h.url, Secret: key, Active: true})
			if err != nil {
				return h.explain(err)
			}
			if !a.table() {
				return a.print(cmd, h.row(got))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s calls %s for: %s\n", h.forge.Info().Name, h.url, strings.Join(got.Events, ", "))
			return err
		}}
	cmd.Flags().StringVar(&at, "url", "", "address that the forge calls (default: listen.publicURL/webhook/REPOSITORY)")
	return cmd
}

func (a *app) webhookList() *cobra.Command {
	return &cobra.Command{Use: "list REPOSITORY", Short: "List the repository's webhooks at its forge", Args: cobra.ExactArgs(1),
		Example: "  trueup webhook list infra\n  trueup webhook list infra -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.hook(cmd, args[0], "")
			if err != nil {
				return err
			}
			list, err := h.admin.Hooks(cmd.Context())
			if err != nil {
				return h.explain(err)
			}
			out, rows := []hookRow{}, [][]string{}
			for _, x := range list {
				r := h.row(x)
				out = append(out, r)
				state := "active"
				if !r.Active {
					state = "switched off"
				}
				if r.LastError != "" {
					state = r.LastError
				}
				ours := ""
				if r.Ours {
					ours = "this server"
				}
				rows = append(rows, []string{r.ID, withoutSecrets(r.URL), state, ours, strings.Join(r.Events, " ")})
			}
			if !a.table() {
				for i := range out {
					out[i].URL = withoutSecrets(out[i].URL)
				}
				return a.print(cmd, out)
			}
			return a.rows(cmd, "There are no webhooks.", []string{"ID", "URL", "STATE", "TO", "EVENTS"}, rows)
		}}
}

// withoutSecrets leaves out what others put into the addresses of their
// webhooks.
func withoutSecrets(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(an address that can't be read)"
	}
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	u.User = nil
	return u.String()
}

func (a *app) webhookDelete() *cobra.Command {
	var id, at string
	cmd := &cobra.Command{Use: "delete REPOSITORY", Short: "Remove the webhook from the forge", Args: cobra.ExactArgs(1),
		Long:    "Remove the webhook that calls this server; with --id another one. The server\ngoes on polling.",
		Example: "  trueup webhook delete infra\n  trueup webhook delete infra --id 42",
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.hook(cmd, args[0], at)
			if err != nil {
				return err
			}
			ids := []string{id}
			if id == "" {
				if ids, err = h.ours(cmd.Context()); err != nil {
					return err
				}
			}
			for _, x := range ids {
				if err := h.admin.DeleteHook(cmd.Context(), x); err != nil {
					return h.explain(err)
				}
			}
			if !a.table() {
				return a.print(cmd, map[string]any{"deleted": ids})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d removed\n", len(ids))
			return err
		}}
	cmd.Flags().StringVar(&id, "id", "", "the webhook's id, as `trueup webhook list` shows it")
	cmd.Flags().StringVar(&at, "url", "", "address of the webhook to remove (default: listen.publicURL/webhook/REPOSITORY)")
	return cmd
}

// ours gives the ids of the webhooks that call this server.
func (h *hookAt) ours(ctx context.Context) ([]string, error) {
	if err := h.needURL(); err != nil {
		return nil, err
	}
	list, err := h.admin.Hooks(ctx)
	if err != nil {
		return nil, h.explain(err)
	}
	var ids []string
	for _, x := range list {
		if x.URL == h.url {
			ids = append(ids, x.ID)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("repository %s has no webhook with the address %s; see `trueup webhook list %s`", h.conf.Name, h.url, h.conf.Name)
	}
	return ids, nil
}
