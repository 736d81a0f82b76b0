//go:build real

package sql_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"trueup.dev/trueup/internal/servertest/postgres"
	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
	"trueup.dev/trueup/internal/store/storetest"
)

var server *postgres.Server

func TestMain(m *testing.M) {
	if isChild() {
		os.Exit(child())
	}
	var err error
	if server, err = postgres.Start(context.Background(), postgres.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var testKey = bytes.Repeat([]byte{7}, 32)

func openURL(t *testing.T, url string, clock func() time.Time) store.Store {
	t.Helper()
	s, err := sql.Open(t.Context(), sql.Options{URL: url, Clock: clock, EncryptionKey: testKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func newDatabase(t *testing.T) string {
	t.Helper()
	url, err := server.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func TestPostgres(t *testing.T) {
	storetest.Run(t, storetest.Backend{
		Open: func(t *testing.T, clock func() time.Time) store.Store { return openURL(t, newDatabase(t), clock) },
		Restore: func(t *testing.T, backup []byte, clock func() time.Time) (store.Store, error) {
			url := newDatabase(t)
			o := sql.Options{URL: url, Clock: clock, EncryptionKey: testKey}
			if err := sql.Restore(t.Context(), bytes.NewReader(backup), o); err != nil {
				return nil, err
			}
			return openURL(t, url, clock), nil
		},
	})
}
