package kube_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
)

// program writes a shell script that gives credentials.
func program(t *testing.T, script string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "login")
	if err := os.WriteFile(p, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func byProgram(t *testing.T, s *kubefake.Server, path string) *kube.Cluster {
	t.Helper()
	text := fmt.Appendf(nil, `current-context: c
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: %q, interactiveMode: Never, provideClusterInfo: true, env: [{name: PROFILE, value: prod}]}}}]
`, s.URL, base64.StdEncoding.EncodeToString(s.CA()), path)
	return dial(t, text, func(o *kube.Options) { o.AllowExec = true })
}

const credential = `echo "{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{%s}}"`

func TestProgramsGiveCredentials(t *testing.T) {
	t.Setenv("TRUEUP_SECRET", "t0p")
	s := kubefake.New(t)
	log := filepath.Join(t.TempDir(), "log")
	p := program(t, "env | sort >> "+log+"\necho noise >&2\n"+fmt.Sprintf(credential, `\"token\":\"admin-token\"`))
	c, ctx := byProgram(t, s, p), context.Background()
	for range 3 {
		if _, err := c.Version(ctx); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(raw); strings.Contains(got, "t0p") || !strings.Contains(got, "PROFILE=prod") || !strings.Contains(got, s.URL) || strings.Count(got, "PROFILE=") != 1 {
		t.Errorf("the program's environment, or it ran more than once:\n%s", got)
	}
	s.Revoke("admin-token")
	if _, err := c.Version(ctx); !errors.Is(err, kube.ErrDenied) {
		t.Errorf("%v", err)
	}
	s.User("admin-token", "admin")
	if _, err := c.Version(ctx); err != nil {
		t.Errorf("%v", err)
	}
	if raw, _ = os.ReadFile(log); strings.Count(string(raw), "PROFILE=") != 2 {
		t.Errorf("a refused token is asked for anew, once:\n%s", raw)
	}
}

func TestCredentialsOfProgramsExpire(t *testing.T) {
	s := kubefake.New(t)
	log := filepath.Join(t.TempDir(), "log")
	until := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	p := program(t, "echo x >> "+log+"\n"+fmt.Sprintf(credential, `\"token\":\"admin-token\",\"expirationTimestamp\":\"`+until+`\"`))
	c := byProgram(t, s, p)
	for range 2 {
		if _, err := c.Version(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if raw, _ := os.ReadFile(log); len(raw) != 4 {
		t.Errorf("it ran %d times", len(raw)/2)
	}
}

func TestProgramsThatFail(t *testing.T) {
	s := kubefake.New(t)
	for name, x := range map[string]struct{ script, want string }{
		"exit":        {"echo t0p-s3cret; echo t0p-s3cret >&2; exit 3", "exit status 3"},
		"no JSON":     {"echo t0p-s3cret", "printed no ExecCredential"},
		"another API": {strings.Replace(fmt.Sprintf(credential, `\"token\":\"t0p-s3cret\"`), "/v1", "/v1beta1", 1), "the kubeconfig wants"},
		"nothing":     {fmt.Sprintf(credential, ""), "neither a token nor a client certificate"},
		"bad pair":    {fmt.Sprintf(credential, `\"clientCertificateData\":\"t0p-s3cret\"`), "don't fit each other"},
		"endless":     {"yes t0p-s3cret", "more than"},
	} {
		_, err := byProgram(t, s, program(t, x.script)).Version(context.Background())
		if !errors.Is(err, driver.ErrUnreachable) || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := byProgram(t, s, program(t, "sleep 600"))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Version(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that hangs: %v", err)
	}
}
