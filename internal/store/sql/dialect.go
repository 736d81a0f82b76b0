package sql

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// dialect is what differs between the two databases. Queries are written
// with ? for parameters and {now} for the clock.
type dialect struct {
	name string
	// param writes the n-th parameter, cast an integer one.
	param, cast func(n int) string
	// now is the database's clock in microseconds, "" when there is none and
	// the time is always passed in.
	now string
	// share and update lock the rows that a SELECT reads.
	share, update, skip string
	cache               sync.Map // query -> rebound
}

var sqlite = dialect{
	name:  "sqlite",
	param: func(n int) string { return "?" + strconv.Itoa(n) },
	cast:  func(n int) string { return "?" + strconv.Itoa(n) },
}

var postgres = dialect{
	name:   "postgres",
	param:  func(n int) string { return "$" + strconv.Itoa(n) },
	cast:   func(n int) string { return "$" + strconv.Itoa(n) + "::bigint" },
	now:    "(extract(epoch from statement_timestamp()) * 1000000)::bigint",
	share:  " FOR SHARE",
	update: " FOR UPDATE",
	skip:   " FOR UPDATE SKIP LOCKED",
}

type rebound struct {
	query string
	clock bool // the time goes behind the other arguments
}

// rebind puts the dialect's words into a query.
func (d *dialect) rebind(query string, injected bool) rebound {
	key := query
	if injected {
		key += "\x00"
	}
	if r, ok := d.cache.Load(key); ok {
		return r.(rebound)
	}
	query = strings.NewReplacer("{share}", d.share, "{update}", d.update, "{skip}", d.skip).Replace(query)
	var b strings.Builder
	n := 0
	for i := 0; i < len(query); i++ {
		if query[i] != '?' {
			b.WriteByte(query[i])
			continue
		}
		n++
		b.WriteString(d.param(n))
	}
	r := rebound{query: b.String()}
	if strings.Contains(r.query, "{now}") {
		now := d.now
		if injected {
			now, r.clock = d.cast(n+1), true
		}
		r.query = strings.ReplaceAll(r.query, "{now}", now)
	}
	d.cache.Store(key, r)
	return r
}

// micros is how times are stored; 0 is no time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
