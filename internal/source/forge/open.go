package forge

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/secret"
)

// Options say how to reach one repository on a forge.
type Options struct {
	// BaseURL is the forge's API or web address; empty is the public service
	// of that kind.
	BaseURL string
	// Project is owner/name, a GitLab path with groups, workspace/repository
	// or PROJECT/repository.
	Project string
	Credentials
	CA        string            // PEM certificates trusted instead of the system's
	Transport http.RoundTripper // for tests; nil is the default
	Log       *slog.Logger
}

// Credentials of a forge. Which of them count follows from its kind.
type Credentials struct {
	Username string       // Bitbucket with an app password or API token
	Token    secret.Value // bearer, private or personal access token
	App      *App         // GitHub
}

// App is a GitHub App.
type App struct {
	ID             int64
	InstallationID int64 // 0 is looked up
	Key            secret.Value
}

// Opener makes a Forge. It checks its options but does not connect.
type Opener func(ctx context.Context, o Options) (Forge, error)

// Registry has the openers by kind.
type Registry map[string]Opener

// Open makes the forge of a kind, or says which kinds there are.
func (r Registry) Open(ctx context.Context, kind string, o Options) (Forge, error) {
	open, ok := r[kind]
	if !ok {
		return nil, fmt.Errorf("there is no forge %q; there are: %s", kind, strings.Join(slices.Sorted(maps.Keys(r)), ", "))
	}
	return open(ctx, o)
}
