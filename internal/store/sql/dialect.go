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
	// param writes the n-th parameter. SQLite's stay unnamed: numbered ones
	// are looked up in a list, each time.
	param func(n int) string
	// integer is the cast behind an injected time.
	integer string
	// now is the database's clock in microseconds.
	now string
	// share and update lock the rows that a SELECT reads.
	share, update, skip string
	cache               sync.Map // query -> rebound
}

var sqlite = dialect{
	name:  "sqlite",
	param: func(int) string { return "?" },
}

var postgres = dialect{
	name:    "postgres",
	param:   func(n int) string { return "$" + strconv.Itoa(n) },
	integer: "::bigint",
	now:     "(extract(epoch from statement_timestamp()) * 1000000)::bigint",
	share:   " FOR SHARE",
	update:  " FOR UPDATE",
	skip:    " FOR UPDATE SKIP LOCKED",
}

// rebound is a query in the dialect's words, and at which places among its
// parameters the injected time stands.
type rebound struct {
	query string
	times []int
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
	words := []string{"{share}", d.share, "{update}", d.update, "{skip}", d.skip}
	if !injected {
		words = append(words, "{now}", d.now)
	}
	rest := strings.NewReplacer(words...).Replace(query)
	var b strings.Builder
	var r rebound
	for n := 1; ; n++ {
		i := strings.IndexAny(rest, "?{")
		if i < 0 {
			break
		}
		b.WriteString(rest[:i] + d.param(n))
		if rest[i] == '{' {
			r.times = append(r.times, n-1)
			b.WriteString(d.integer)
			i += len("{now}") - 1
		}
		rest = rest[i+1:]
	}
	b.WriteString(rest)
	r.query = b.String()
	d.cache.Store(key, r)
	return r
}

// arguments puts the time between the others.
func (r rebound) arguments(args []any, now func() time.Time) []any {
	if len(r.times) == 0 {
		return args
	}
	at := micros(now())
	all := make([]any, 0, len(args)+len(r.times))
	for _, place := range r.times {
		n := place - len(all)
		all = append(append(all, args[:n]...), at)
		args = args[n:]
	}
	return append(all, args...)
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
