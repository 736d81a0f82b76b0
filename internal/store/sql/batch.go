package sql

import (
	dbsql "database/sql"
	"strings"
)

// Statements come in a few sizes only, so that the databases can keep them
// prepared.
var batchSizes = []int{400, 50, 8, 1}

func batchSize(left int) int {
	for _, n := range batchSizes {
		if n <= left {
			return n
		}
	}
	return 1
}

// batch runs "head tuple, tuple, … tail" over n items in statements of many
// rows. args gives one item's arguments; head's own come from first, tail's
// from rest. scan, if any, gets what RETURNING or SELECT gives.
type batch struct {
	head, tuple, tail string
	first, rest       []any
	args              func(i int) []any
	scan              func(r *dbsql.Rows) error
}

func (t *tx) batch(n int, b batch) error {
	for at := 0; at < n; {
		size := batchSize(n - at)
		args := append(make([]any, 0, size*8), b.first...)
		for i := at; i < at+size; i++ {
			args = append(args, b.args(i)...)
		}
		query := b.head + strings.Repeat(b.tuple+", ", size-1) + b.tuple + b.tail
		args = append(args, b.rest...)
		var err error
		if b.scan != nil {
			err = t.each(b.scan, query, args...)
		} else {
			_, err = t.exec(query, args...)
		}
		if err != nil {
			return err
		}
		at += size
	}
	return nil
}
