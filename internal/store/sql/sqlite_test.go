package sql_test

import (
	"testing"
	"time"

	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
	"trueup.dev/trueup/internal/store/storetest"
)

func openSQLite(t *testing.T, clock func() time.Time) store.Store {
	t.Helper()
	s, err := sql.Open(t.Context(), sql.Options{Dir: t.TempDir(), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLite(t *testing.T) {
	storetest.Run(t, storetest.Backend{Open: openSQLite})
}
