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

// group is names that share the first column of their key. Lists of plain
// values in one column are what both databases look up through an index
// whatever they know of the table.
type group struct {
	name    string
	members []string
}

func groupBy[T any](list []T, split func(T) (group, member string)) []group {
	var groups []group
	place := map[string]int{}
	for _, v := range list {
		g, m := split(v)
		i, ok := place[g]
		if !ok {
			i = len(groups)
			place[g] = i
			groups = append(groups, group{name: g})
		}
		groups[i].members = append(groups[i].members, m)
	}
	return groups
}

// in runs "head (member, member, …) tail" for every group; head's arguments
// come from first, the group's name behind them.
func (t *tx) in(groups []group, b batch) error {
	b.head, b.tuple, b.tail = b.head+" (", "?", ")"+b.tail
	first := b.first
	for _, g := range groups {
		b.first = append(first[:len(first):len(first)], g.name)
		b.args = func(i int) []any { return []any{g.members[i]} }
		if err := t.batch(len(g.members), b); err != nil {
			return err
		}
	}
	return nil
}
