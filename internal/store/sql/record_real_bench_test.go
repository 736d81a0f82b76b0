//go:build real

package sql_test

import (
	"testing"

	"trueup.dev/trueup/internal/store/sql"
)

func BenchmarkRecordPostgres(b *testing.B) {
	url, err := server.NewDatabase(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	s, err := sql.Open(b.Context(), sql.Options{URL: url, EncryptionKey: testKey})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	benchmarkRecord(b, s)
}
