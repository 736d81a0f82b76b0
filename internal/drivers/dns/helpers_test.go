package dns

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// journal is a driver.Report that keeps an inventory.
type journal struct {
	mu   sync.Mutex
	inv  driver.Inventory
	all  []plan.Result
	stop error // given back by Pending
}

func newJournal() *journal { return &journal{inv: driver.Inventory{}} }

func (j *journal) Pending(_ context.Context, keys []plan.Key) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, k := range keys {
		o := j.inv[k]
		o.Key, o.Pending = k, true
		j.inv[k] = o
	}
	return j.stop
}

func (j *journal) Done(_ context.Context, results []plan.Result) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, results...)
	for _, r := range results {
		switch {
		case r.Outcome == plan.Unknown:
		case r.Outcome != plan.Applied:
			o := j.inv[r.Key]
			o.Pending = false
			j.inv[r.Key] = o
			if o.Hash == "" {
				delete(j.inv, r.Key)
			}
		case r.Action == plan.Delete || r.Action == plan.Forget:
			delete(j.inv, r.Key)
		default:
			j.inv[r.Key] = driver.Owned{Key: r.Key, Kind: r.Kind, Class: r.Class, Weight: r.Weight, Hash: r.Hash, Source: r.Source}
		}
	}
	return nil
}

func (j *journal) Logf(string, ...any) {}

func tree(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

func input(spec *Spec, inv driver.Inventory, files ...string) driver.Input {
	return driver.Input{Target: "t1", Tree: tree(files...), Path: files[0], Spec: spec, Scope: &Scope{}, Inventory: inv, Mode: plan.Apply, Now: time.Now()}
}

func open(t testing.TB, c *Connect, secrets map[string]string) *session {
	t.Helper()
	s, err := New().Open(context.Background(), driver.Environment{Name: "e", Connect: c,
		Secret: func(_ context.Context, ref secret.Ref) (secret.Value, error) {
			v, ok := secrets[string(ref)]
			if !ok {
				return secret.Value{}, fmt.Errorf("no secret %s", ref)
			}
			return secret.New(v), nil
		}}, driver.Write)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*session)
}

func mustPlan(t testing.TB, s driver.Session, in driver.Input) *plan.Plan {
	t.Helper()
	p, err := s.Plan(context.Background(), in)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	return p
}

func mustApply(t testing.TB, s driver.Session, in driver.Input, j *journal) *plan.Plan {
	t.Helper()
	in.Inventory = j.inv
	p := mustPlan(t, s, in)
	if err := s.Apply(context.Background(), in, p, j); err != nil {
		t.Fatalf("apply: %v", err)
	}
	for _, r := range j.all {
		if r.Outcome != plan.Applied {
			t.Fatalf("%s %s: %s", r.Key, r.Outcome, r.Error)
		}
	}
	return p
}

const small = `$ORIGIN example.com.
$TTL 300
@ IN SOA ns1 hostmaster 1 3600 600 604800 300
@ IN NS ns1
ns1 IN A 127.0.0.1
www IN A 192.0.2.2
    IN A 192.0.2.3
ftp IN CNAME www
@ IN MX 10 mail
mail IN A 192.0.2.4
txt 60 IN TXT "a b" "c;d"
`

// adopt takes over what exists and differs, as an approved conflict would.
func (j *journal) adopt(t testing.TB, s driver.Session, in driver.Input) {
	t.Helper()
	for _, c := range mustPlan(t, s, in).Changes {
		if c.Conflict != "" {
			j.inv[c.Key] = driver.Owned{Key: c.Key, Kind: c.Kind, Class: class, Weight: 1, Hash: "before"}
		}
	}
}
