//go:build real

package sql_test

import (
	"testing"

	"trueup.dev/trueup/internal/store"
)

func TestTamperingPostgres(t *testing.T) {
	tamper(t, func(t *testing.T) (store.Store, func(string) error) {
		url := newDatabase(t)
		return openURL(t, url, nil), func(statement string) error {
			_, err := server.Psql(t.Context(), url, statement)
			return err
		}
	})
}
