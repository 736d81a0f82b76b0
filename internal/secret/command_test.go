package secret_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/secret"
)

func script(t *testing.T, text string) secret.Command {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return secret.Command{Args: []string{path, "show"}, Timeout: time.Minute,
		Env: func(context.Context) ([]string, error) { return []string{"KEY=k"}, nil }}
}

func TestCommand(t *testing.T) {
	t.Setenv("CANARY", "canary-env")
	c := script(t, `printf '%s %s %s %s\n' "$1" "$2" "$KEY" "$CANARY"`)
	if v, err := c.Resolve(t.Context(), "dns/tsig"); err != nil || v.Reveal() != "show dns/tsig k " {
		t.Errorf("%q, %v", v.Reveal(), err)
	}
	for _, name := range []string{"", "-rf"} {
		if _, err := c.Resolve(t.Context(), name); err == nil {
			t.Errorf("%q was taken as a name", name)
		}
	}
	if _, err := script(t, "echo canary >&2; exit 3").Resolve(t.Context(), "x"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a failing command: %v", err)
	}
	if _, err := script(t, "exit 0").Resolve(t.Context(), "x"); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("a silent command: %v", err)
	}
	if _, err := script(t, "cat /dev/zero").Resolve(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an endless command: %v", err)
	}
}

// TestCommandEndsWithAllItStarted also kills what the program left behind.
func TestCommandEndsWithAllItStarted(t *testing.T) {
	c := script(t, "sleep 600 & echo $! > "+filepath.Join(t.TempDir(), "pid")+"; wait")
	c.Timeout = 50 * time.Millisecond
	start := time.Now()
	if _, err := c.Resolve(t.Context(), "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if time.Since(start) > 30*time.Second {
		t.Error("it waited for the child")
	}
}

func TestSlot(t *testing.T) {
	var s secret.Slot
	if _, err := s.Resolve(t.Context(), "x"); err == nil {
		t.Error("an empty slot answers")
	}
	s.Put(secret.Env{})
	t.Setenv("SLOT_TEST", "v")
	if v, err := s.Resolve(t.Context(), "SLOT_TEST"); err != nil || v.Reveal() != "v" {
		t.Errorf("%v", err)
	}
}
