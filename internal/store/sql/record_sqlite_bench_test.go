package sql_test

import (
	"testing"

	"trueup.dev/trueup/internal/store/sql"
)

func BenchmarkRecordSQLite(b *testing.B) {
	s, err := sql.Open(b.Context(), sql.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	benchmarkRecord(b, s)
}
