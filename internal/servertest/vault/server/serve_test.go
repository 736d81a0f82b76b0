// A real Vault server for tests: the core, HTTP interface and plug-ins of
// HashiCorp's module, on storage in memory. The module makes a ready core for
// tests only, which is why this program is a test binary (go test -c).
package server

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"testing"

	jwtauth "github.com/hashicorp/vault-plugin-auth-jwt"
	kubeauth "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/vault"
)

// TestServe serves on the address in VAULT_TEST_LISTEN until it is told to
// stop, and writes the root token into the file that VAULT_TEST_TOKEN_FILE
// names as soon as it is ready.
func TestServe(t *testing.T) {
	core, _, root := vault.TestCoreUnsealedWithConfig(t, &vault.CoreConfig{
		LogicalBackends: map[string]logical.Factory{"kv": kv.Factory, "leased": vault.LeasedPassthroughBackendFactory},
		CredentialBackends: map[string]logical.Factory{
			"approle": approle.Factory, "jwt": jwtauth.Factory, "kubernetes": kubeauth.Factory},
	})
	l, err := net.Listen("tcp", os.Getenv("VAULT_TEST_LISTEN"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = http.Serve(l, vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}}))
	}()
	file := os.Getenv("VAULT_TEST_TOKEN_FILE")
	if err := os.WriteFile(file+".new", []byte(root), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	// Nothing is worth keeping: the data is in memory.
	os.Exit(0)
}
