//go:build real

package sql_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/servertest/postgres"
	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
	"trueup.dev/trueup/internal/store/storetest"
)

func TestPostgresParallel(t *testing.T) {
	url := newDatabase(t)
	open := func(t *testing.T, clock func() time.Time) store.Store { return openURL(t, url, clock) }
	storetest.RunParallel(t, storetest.Backend{Open: open, Second: open})
}

// A lease and its takeover as psql sees them, on the database's clock.
func TestLeaseInTheDatabase(t *testing.T) {
	url := newDatabase(t)
	one, two := openURL(t, url, nil), openURL(t, url, nil)
	ctx := t.Context()
	query := func(q string) string {
		t.Helper()
		out, err := server.Psql(ctx, url, q)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	claim := func(s store.Store, owner string) []store.Lease {
		t.Helper()
		l, err := s.Claim(ctx, store.ClaimOptions{Owner: owner, Kinds: []store.WorkKind{store.Reconcile}, Max: 5, Lease: time.Second, DefaultSlot: 5})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if err := one.Trigger(ctx, store.Trigger{Kind: store.Reconcile, Key: "a", Slot: "s", Actor: "user:alice"}); err != nil {
		t.Fatal(err)
	}
	held := claim(one, "one")
	if got := query("SELECT owner, lease_until > extract(epoch from now()) * 1000000 FROM work WHERE key = 'a'"); got != "one|t" {
		t.Fatalf("psql says %s", got)
	}
	if l := claim(two, "two"); len(l) != 0 {
		t.Fatalf("leased twice: %v", l)
	}
	time.Sleep(1100 * time.Millisecond)
	taken := claim(two, "two")
	if len(taken) != 1 || taken[0].Token <= held[0].Token {
		t.Fatalf("not taken over: %v", taken)
	}
	if got := query("SELECT owner FROM work"); got != "two" {
		t.Fatalf("psql says %s", got)
	}
	if err := one.PutRun(ctx, held[0].Fence, store.Run{ID: "r1"}); !errors.Is(err, store.ErrFenced) {
		t.Fatalf("a stale write: %v", err)
	}
	if got := query("SELECT count(*) FROM runs"); got != "0" {
		t.Fatalf("a fenced write left %s runs", got)
	}
	r := []plan.Result{{Key: plan.Key{Scope: "z", Address: "www"}, Action: plan.Create, Outcome: plan.Applied}}
	if err := two.Record(ctx, taken[0].Fence, "a", "r2", map[plan.Scope]string{"z": "realm"}, r); err != nil {
		t.Fatal(err)
	}
	if got := query("SELECT target, scope, address, realm, run FROM inventory"); got != "a|z|www|realm|r2" {
		t.Fatalf("psql says %s", got)
	}
}

func TestNotifyWakesAnotherReplica(t *testing.T) {
	url := newDatabase(t)
	one, two := openURL(t, url, nil), openURL(t, url, nil)
	woken := make(chan time.Duration)
	go func() {
		start := time.Now()
		for range 3 { // the first rings may be of the connection
			_ = two.Wait(t.Context(), time.Minute)
			if _, err := two.Work(t.Context(), store.Poll, "infra"); err == nil {
				break
			}
		}
		woken <- time.Since(start)
	}()
	time.Sleep(500 * time.Millisecond)
	if err := one.Trigger(t.Context(), store.Trigger{Kind: store.Poll, Key: "infra"}); err != nil {
		t.Fatal(err)
	}
	if took := <-woken; took > 20*time.Second {
		t.Fatalf("woke after %v", took)
	}
}

// Two claims that only a prefix brings together, at the same moment.
func TestPrefixClaimsOfTwoReplicas(t *testing.T) {
	url := newDatabase(t)
	one, two := openURL(t, url, nil), openURL(t, url, nil)
	ctx := t.Context()
	fence := func(s store.Store, key string) store.Fence {
		if err := s.Trigger(ctx, store.Trigger{Kind: store.Reconcile, Key: key, Slot: "s"}); err != nil {
			t.Fatal(err)
		}
		l, err := s.Claim(ctx, store.ClaimOptions{Owner: key, Kinds: []store.WorkKind{store.Reconcile}, Max: 1, Lease: time.Minute, DefaultSlot: 5})
		if err != nil || len(l) != 1 {
			t.Fatal(l, err)
		}
		return l[0].Fence
	}
	a, b := fence(one, "a"), fence(two, "b")
	for i := range 20 {
		realm := string(rune('A' + i))
		errs := make(chan error, 2)
		go func() {
			_, err := one.TakeClaims(ctx, a, []store.Claim{{Realm: realm, Address: "team/www", Target: "a"}})
			errs <- err
		}()
		go func() {
			_, err := two.TakeClaims(ctx, b, []store.Claim{{Realm: realm, Address: "team/*", Target: "b"}})
			errs <- err
		}()
		first, second := <-errs, <-errs
		if (first == nil) == (second == nil) {
			t.Fatalf("realm %s: %v and %v", realm, first, second)
		}
	}
}

func TestServerAway(t *testing.T) {
	own, err := postgres.Start(t.Context(), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := own.Stop(); err != nil {
			t.Error(err)
		}
	}()
	s := openURL(t, own.URL("postgres"), nil)
	ctx := context.Background()
	put := func() error { return s.PutHold(ctx, store.Hold{Kind: "freeze"}) }
	if err := put(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	t.Log("killed in", time.Since(start))
	if err := put(); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("while the server is away: %v", err)
	}
	if _, err := sql.Open(ctx, sql.Options{URL: own.URL("postgres"), EncryptionKey: testKey}); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("opened while the server is away: %v", err)
	}
	if err := own.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Fatalf("after its return: %v", err)
	}
}

func TestReplicasMigrateTogether(t *testing.T) {
	url := newDatabase(t)
	errs := make(chan error)
	for range 4 {
		go func() {
			s, err := sql.Open(context.Background(), sql.Options{URL: url, EncryptionKey: testKey})
			if err == nil {
				err = s.Close()
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if _, err := sql.Open(t.Context(), sql.Options{URL: url, EncryptionKey: bytes.Repeat([]byte{9}, 32)}); !errors.Is(err, sql.ErrNoKey) {
		t.Errorf("a replica with another key: %v", err)
	}
}

// A backup moves from one database to the other, and back.
func TestBackupAcrossDatabases(t *testing.T) {
	ctx := t.Context()
	from := openDir(t, t.TempDir(), nil)
	key, err := from.Key(ctx, "content")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := from.Trigger(ctx, store.Trigger{Kind: store.Reconcile, Key: "ä/1", Slot: "s", Payload: []byte(`{"x":"<"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := from.PutBlob(ctx, "b", []byte{0, 1, 255}); err != nil {
		t.Fatal(err)
	}
	var file, again bytes.Buffer
	if err := from.Backup(ctx, &file); err != nil {
		t.Fatal(err)
	}
	o := sql.Options{URL: newDatabase(t), EncryptionKey: testKey}
	if err := sql.Restore(ctx, &file, o); err != nil {
		t.Fatal(err)
	}
	if err := sql.Restore(ctx, bytes.NewReader(file.Bytes()), o); err == nil {
		t.Fatal("restored into a store in use")
	}
	middle := openURL(t, o.URL, nil)
	if err := middle.Backup(ctx, &again); err != nil {
		t.Fatal(err)
	}
	back := sql.Options{Dir: t.TempDir(), EncryptionKey: testKey}
	if err := sql.Restore(ctx, &again, back); err != nil {
		t.Fatal(err)
	}
	end := openDir(t, back.Dir, nil)
	for _, s := range []store.Store{middle, end} {
		got, err := s.Key(ctx, "content")
		if err != nil || !bytes.Equal(got, key) {
			t.Fatalf("key %x, %v", got, err)
		}
		body, err := s.Blob(ctx, "b")
		if err != nil || !bytes.Equal(body, []byte{0, 1, 255}) {
			t.Fatalf("blob %x, %v", body, err)
		}
		l, err := s.Claim(ctx, store.ClaimOptions{Owner: "x", Kinds: []store.WorkKind{store.Reconcile}, Max: 1, Lease: time.Minute, DefaultSlot: 1})
		if err != nil || len(l) != 1 || len(l[0].Triggers) != 3 || string(l[0].Payload) != `{"x":"<"}` {
			t.Fatalf("leases %+v, %v", l, err)
		}
	}
}
