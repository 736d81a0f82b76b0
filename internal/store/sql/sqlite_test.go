package sql_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
	"trueup.dev/trueup/internal/store/storetest"
)

func closeStore(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func openDir(t *testing.T, dir string, clock func() time.Time) store.Store {
	t.Helper()
	s, err := sql.Open(t.Context(), sql.Options{Dir: dir, Clock: clock, EncryptionKey: bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func TestSQLite(t *testing.T) {
	storetest.Run(t, storetest.Backend{
		Open: func(t *testing.T, clock func() time.Time) store.Store { return openDir(t, t.TempDir(), clock) },
		Restore: func(t *testing.T, backup []byte, clock func() time.Time) (store.Store, error) {
			dir := t.TempDir()
			o := sql.Options{Dir: dir, Clock: clock, EncryptionKey: bytes.Repeat([]byte{7}, 32)}
			if err := sql.Restore(t.Context(), bytes.NewReader(backup), o); err != nil {
				return nil, err
			}
			return openDir(t, dir, clock), nil
		},
	})
}

func TestSecondProcessIsRefusedAndTakesOverAfterKill(t *testing.T) {
	dir := t.TempDir()
	s, err := sql.Open(t.Context(), sql.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Trigger(t.Context(), store.Trigger{Kind: store.Reconcile, Key: "a", Slot: "s"}); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "leased 1\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	_, err = sql.Open(t.Context(), sql.Options{Dir: dir})
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(cmd.Process.Pid)) {
		t.Fatalf("got %v, want ErrLocked with pid %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	s, err = sql.Open(t.Context(), sql.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	leases, err := s.Claim(t.Context(), store.ClaimOptions{Owner: "me", Kinds: []store.WorkKind{store.Reconcile}, Max: 10, Lease: time.Minute, DefaultSlot: 1})
	if err != nil || len(leases) != 1 || len(leases[0].Triggers) != 1 {
		t.Fatalf("the dead process's work: %v, %v", leases, err)
	}
}

func TestFilesAreNobodyElses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, err := sql.Open(t.Context(), sql.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	if err := s.PutHold(t.Context(), store.Hold{Kind: "freeze"}); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		seen++
		return err
	})
	if err != nil || seen < 5 {
		t.Fatalf("%d files, %v", seen, err)
	}
}

func TestAnotherKeyIsRefused(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	open := func(key byte, old ...[]byte) ([]byte, error) {
		s, err := sql.Open(ctx, sql.Options{Dir: dir, EncryptionKey: bytes.Repeat([]byte{key}, 32), OldKeys: old})
		if err != nil {
			return nil, err
		}
		named, err := s.Key(ctx, "content")
		return named, errors.Join(err, s.Close())
	}
	first, err := open(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(2); !errors.Is(err, sql.ErrNoKey) {
		t.Fatalf("another key: %v", err)
	}
	if _, err := open(2, bytes.Repeat([]byte{1}, 32)); err != nil {
		t.Fatalf("rotated: %v", err)
	}
	last, err := open(2)
	if err != nil || !bytes.Equal(first, last) {
		t.Fatalf("the old key is no longer needed: %x, then %x, %v", first, last, err)
	}
}

func TestSQLiteParallel(t *testing.T) {
	storetest.RunParallel(t, storetest.Backend{
		Open: func(t *testing.T, clock func() time.Time) store.Store { return openDir(t, t.TempDir(), clock) },
	})
}
