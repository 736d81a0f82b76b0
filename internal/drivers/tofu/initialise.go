package tofu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"trueup.dev/trueup/internal/driver"
)

const lockName = ".terraform.lock.hcl"

// initialise brings providers, modules and backend into the working data, when
// anything that they depend on has changed since the last time.
func (w *work) initialise(ctx context.Context, anew bool) error {
	given, err := os.ReadFile(filepath.Join(w.rootDir(), lockName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	want := w.initDigest(given)
	have, err := os.ReadFile(w.path("init"))
	if err == nil && string(have) == want && !anew {
		return w.keptLock()
	}
	if err := os.Remove(w.path("init")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.freshData(); err != nil {
		return err
	}
	if err := w.install(ctx, given); err != nil {
		return err
	}
	if w.spec.Workspace != "" {
		if _, err := w.start(ctx, invocation{args: []string{"workspace", "select", "-or-create", w.spec.Workspace}}); err != nil {
			return w.explain("workspace "+w.spec.Workspace, err)
		}
	}
	lock, err := os.ReadFile(filepath.Join(w.rootDir(), lockName))
	if err == nil {
		err = os.WriteFile(w.path("lock.hcl"), lock, 0o600)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = os.RemoveAll(w.path("lock.hcl"))
	}
	if err != nil {
		return err
	}
	return os.WriteFile(w.path("init"), []byte(want), 0o600)
}

// freshData empties the working data but for modules that were fetched.
func (w *work) freshData() error {
	if err := os.RemoveAll(w.path("data")); err != nil {
		return err
	}
	if err := os.Mkdir(w.path("data"), 0o700); err != nil {
		return err
	}
	return w.s.owner.give(w.path("data"))
}

// keptLock puts back the lock file that the last init came to: it may hold
// hashes that the repository's lacks, or be the only one.
func (w *work) keptLock() error {
	body, err := os.ReadFile(w.path("lock.hcl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	name := filepath.Join(w.rootDir(), lockName)
	if err := os.WriteFile(name, body, 0o600); err != nil {
		return err
	}
	return w.s.owner.give(name)
}

func (w *work) initDigest(lock []byte) string {
	h := sha256.New()
	backend, _ := os.ReadFile(w.path("secrets", "backend.hcl"))
	cli, _ := os.ReadFile(w.path("secrets", "cli.tfrc"))
	for _, part := range []string{string(w.s.program), w.s.version.number.String(), w.root.needsDigest(), string(lock),
		string(backend), string(cli), w.spec.Workspace, w.s.c.LockFile} {
		fmt.Fprintf(h, "%d %s\x00", len(part), part)
	}
	h.Write(w.s.env.HashKey)
	return hex.EncodeToString(h.Sum(nil))
}

// install runs init. Roots that ask for the same providers wait for each
// other, so that only the first one fetches them.
func (w *work) install(ctx context.Context, given []byte) error {
	p := pluginStore{dir: filepath.Join(w.s.cache, "plugins"), owner: w.s.owner}
	unlock, err := p.lockFor(ctx, given)
	if err != nil {
		return err
	}
	defer unlock()
	staging, err := p.stage(w.key, given)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(staging) }()
	args := []string{"init", "-input=false", "-no-color", "-reconfigure", "-lock-timeout=" + w.s.c.lockTimeout().String()}
	if _, err := os.Stat(w.path("secrets", "backend.hcl")); err == nil {
		args = append(args, "-backend-config="+w.path("secrets", "backend.hcl"))
	}
	if len(given) > 0 && w.s.c.LockFile != "update" {
		args = append(args, "-lockfile=readonly")
	}
	if _, err := w.start(ctx, invocation{args: args, cache: staging}); err != nil {
		return w.explain("init", err)
	}
	return p.publish(staging, w.path("data", "providers"))
}

// lockFor takes the lock of all roots with the same lock file.
func (p pluginStore) lockFor(ctx context.Context, lock []byte) (func(), error) {
	sum := sha256.Sum256(lock)
	f, err := p.openLock("init-" + hex.EncodeToString(sum[:8]) + ".lock")
	if err != nil {
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	if err := waitLock(limit, f, syscall.LOCK_EX); err != nil {
		_ = f.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("another run has been fetching the same providers for 15 minutes: %w", driver.ErrUnreachable)
	}
	return func() { _ = f.Close() }, nil
}

// backendRecord is what init wrote down about the backend.
type backendRecord struct {
	Backend struct {
		Type   string         `json:"type"`
		Config map[string]any `json:"config"`
	} `json:"backend"`
}

// identity lists the settings that say which state it is; credentials and
// ways to connect don't.
var identity = []string{"address", "path", "bucket", "key", "prefix", "storage_account_name", "container_name", "schema_name",
	"namespace", "secret_suffix", "organization", "hostname", "workspaces", "table", "region"}

// realm says which state the target's is: backend, place in it, workspace.
func (w *work) realm() string {
	var rec backendRecord
	body, err := os.ReadFile(w.path("data", "terraform.tfstate"))
	if err != nil || json.Unmarshal(body, &rec) != nil || rec.Backend.Type == "" {
		return "state of " + w.key
	}
	parts := []string{rec.Backend.Type}
	for _, k := range identity {
		v := rec.Backend.Config[k]
		if v == nil || v == "" {
			continue
		}
		parts = append(parts, k+"="+plainURL(fmt.Sprint(v)))
	}
	if len(parts) == 1 {
		conf, err := json.Marshal(rec.Backend.Config)
		if err == nil {
			parts = append(parts, w.s.keyed(conf))
		}
	}
	if w.spec.Workspace != "" {
		parts = append(parts, "workspace="+w.spec.Workspace)
	}
	return strings.Join(parts, " ")
}

// plainURL takes credentials out of an address.
func plainURL(s string) string {
	if u, err := url.Parse(s); err == nil && u.User != nil {
		u.User = nil
		return u.String()
	}
	return s
}
