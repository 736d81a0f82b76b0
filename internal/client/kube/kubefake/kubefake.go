// Package kubefake is an API server of Kubernetes in the test process, for
// tests that have to be quick:
//
//	s := kubefake.New(t)
//	s.Kubeconfig()                              // of an administrator
//	s.Set("kubectl", "apiVersion: v1\nkind: …") // from outside, as kubectl would
//	s.Get("apps/v1", "Deployment", "web", "api")
//	undo := s.Deny(func(r kubefake.Request) error { … })
//	s.Count(kubefake.DryRuns)
//
// It keeps to these parts of the specification:
//
//   - API concepts (https://kubernetes.io/docs/reference/using-api/api-concepts/):
//     resource URIs, lists in consistent pages by limit and continue with 410
//     when a token has expired, watches from a resource version on with
//     bookmarks and 410, streaming lists, metadata only (PartialObjectMetadata),
//     dry run, discovery in the aggregated and the older form, deletion in two
//     phases by finalizers.
//   - Server-side apply (https://kubernetes.io/docs/reference/using-api/server-side-apply/)
//     by apimachinery's own field managers over the schemas of client-go and of
//     custom resource definitions: ownership, conflicts with their causes, force,
//     list keys, unknown fields.
//   - API conventions (https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md):
//     metadata, resourceVersion (a write that changes nothing keeps it),
//     generation, the status subresource, Status errors with reason and causes,
//     Retry-After.
//   - Garbage collection (https://kubernetes.io/docs/concepts/architecture/garbage-collection/):
//     background, foreground and orphan; namespaces and custom resource
//     definitions take their contents along.
//
// It does not validate objects, but for unknown fields and the immutable fields
// in rules.go, knows few defaults, checks no RBAC, and runs no pods: workloads
// are healthy at once, unless the annotation kubetest/fail says otherwise, as
// in the package kubetest.
package kubefake

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Server is the fake API server.
type Server struct {
	URL string
	// Version is what /version says.
	Version string

	t    testing.TB
	http *httptest.Server
	// conns counts the open connections.
	conns atomic.Int64
	over  atomic.Bool // nothing new is watched

	mu     sync.Mutex // guards what follows
	store  *store
	kinds  *kinds
	faults faults
	tokens map[string]string // bearer token to user
	asked  []Request
}

// New starts a server on loopback, with HTTPS and HTTP/2; it ends with the test.
func New(t testing.TB) *Server {
	s := &Server{Version: "v1.37.2", t: t, tokens: map[string]string{"admin-token": "admin"}}
	s.kinds = builtin()
	s.store = newStore()
	s.faults = faults{settle: Settled}
	s.http = httptest.NewUnstartedServer(s)
	s.http.EnableHTTP2 = true
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // dropped connections are meant
	s.http.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.conns.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.conns.Add(-1)
		}
	}
	s.http.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, c)
	}
	s.http.StartTLS()
	s.URL = s.http.URL
	t.Cleanup(s.Close)
	for _, ns := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		s.Set("kube-apiserver", "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+ns+"}")
	}
	return s
}

type connKey struct{}

// Kubeconfig gives a kubeconfig of an administrator.
func (s *Server) Kubeconfig() []byte { return s.KubeconfigFor("admin-token") }

// KubeconfigFor gives a kubeconfig with a bearer token, whether the server
// accepts it or not.
func (s *Server) KubeconfigFor(token string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: fake
clusters: [{name: fake, cluster: {server: %q, certificate-authority-data: %q}}]
users: [{name: me, user: {token: %q}}]
contexts: [{name: fake, context: {cluster: fake, user: me}}]
`, s.URL, base64of(s.CA()), token)
}

// Connections tells how many connections are open.
func (s *Server) Connections() int { return int(s.conns.Load()) }

// CA gives the certificate of the authority that the server's own is of, in PEM.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// Config gives a client configuration of an administrator.
func (s *Server) Config() *rest.Config {
	c, err := clientcmd.RESTConfigFromKubeConfig(s.Kubeconfig())
	if err != nil {
		s.t.Fatalf("kubefake: %v", err)
	}
	c.QPS = -1
	return c
}

// User makes the server accept a bearer token as that of a user.
func (s *Server) User(token, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = name
}

// Revoke makes the server refuse a bearer token from now on.
func (s *Server) Revoke(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, token)
}

// Close ends the server before its test ends; connections are refused then.
func (s *Server) Close() {
	s.over.Store(true)
	s.CutWatches()
	s.http.CloseClientConnections()
	s.http.Close()
}

// Become makes the server that of another, empty cluster: all objects are gone
// and the namespace kube-system has another UID.
func (s *Server) Become() {
	s.CutWatches()
	s.mu.Lock()
	s.kinds, s.store = builtin(), newStore()
	s.mu.Unlock()
	for _, ns := range []string{"default", "kube-system"} {
		s.Set("kube-apiserver", "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+ns+"}")
	}
}

func newUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

var _ http.Handler = (*Server)(nil)
