package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/agent/wire"
	"trueup.dev/trueup/internal/driver"
)

const keptDir = "kept"

// kept is what the agent remembers of one target: the apply that it last
// carried out whole, as the server signed it, and what the target owns here
// since.
type kept struct {
	Target string `json:"target"`
	// Highest is the generation of the newest apply that was begun. Anything
	// older is a replay.
	Highest int64 `json:"highest"`
	// Envelope is nil when nothing is kept.
	Envelope  *wire.Envelope `json:"envelope,omitempty"`
	Inventory []driver.Owned `json:"inventory,omitempty"`
	// Doubt says why the envelope can't be relied on: a newer apply was begun
	// and did not come to its end.
	Doubt   string     `json:"doubt,omitempty"`
	Alone   wire.Alone `json:"alone"`
	Applied time.Time  `json:"applied,omitzero"`
}

// keeper keeps the state of all targets in files of mode 0600.
type keeper struct {
	dir string
	mu  sync.Mutex
	m   map[string]*kept
}

// sealedFile is a file with the sum of what is in it.
type sealedFile struct {
	Sum  string          `json:"sum"`
	Body json.RawMessage `json:"body"`
}

// openKeeper reads what is kept. A file that is damaged is an error that is
// logged by the caller; its target is not corrected until the next apply.
func openKeeper(dir string) (*keeper, []error) {
	k := &keeper{dir: filepath.Join(dir, keptDir), m: map[string]*kept{}}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return k, []error{err}
	}
	names, err := os.ReadDir(k.dir)
	if err != nil {
		return k, []error{err}
	}
	var errs []error
	for _, n := range names {
		if !strings.HasSuffix(n.Name(), ".json") {
			continue
		}
		s, err := readKept(filepath.Join(k.dir, n.Name()))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		k.m[s.Target] = s
	}
	return k, errs
}

func readKept(path string) (*kept, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f sealedFile
	var s kept
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", path, err)
	}
	if sum(f.Body) != f.Sum {
		return nil, fmt.Errorf("%s is damaged: its sum is wrong", path)
	}
	if err := json.Unmarshal(f.Body, &s); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", path, err)
	}
	return &s, nil
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func (k *keeper) path(target string) string {
	return filepath.Join(k.dir, sum([]byte(target))[:32]+".json")
}

func (k *keeper) put(s *kept) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := writeJSON(k.path(s.Target), sealedFile{Sum: sum(body), Body: body}); err != nil {
		return err
	}
	k.m[s.Target] = s
	return nil
}

// begin notes, before anything is written, that an apply starts. It refuses
// what is not newer than what was begun before.
func (k *keeper) begin(target string, generation int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := kept{Target: target}
	if old := k.m[target]; old != nil {
		s = *old
	}
	if generation <= s.Highest {
		return driver.Permanent(fmt.Errorf("request %d is not newer than %d, which was carried out before: a replay", generation, s.Highest))
	}
	s.Highest = generation
	s.Doubt = fmt.Sprintf("apply %d was begun and did not come to its end", generation)
	return k.put(&s)
}

// finish keeps an apply that was carried out whole. A nil envelope keeps
// nothing: the target was destroyed.
func (k *keeper) finish(target string, generation int64, e *wire.Envelope, inventory []driver.Owned, now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.m[target]
	if old == nil || old.Highest != generation {
		return nil // a newer one has begun
	}
	return k.put(&kept{Target: target, Highest: generation, Envelope: e, Inventory: inventory, Alone: old.Alone, Applied: now})
}

// own takes over what the target owns after the agent corrected drift.
func (k *keeper) own(target string, generation int64, inventory []driver.Owned) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.m[target]
	if old == nil || old.Highest != generation {
		return nil
	}
	s := *old
	s.Inventory = inventory
	return k.put(&s)
}

// allow takes over what may be done alone.
func (k *keeper) allow(alone map[string]wire.Alone) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for target, a := range alone {
		old := k.m[target]
		if old == nil || same(old.Alone, a) {
			continue
		}
		s := *old
		s.Alone = a
		if a.Forget {
			s.Envelope, s.Inventory = nil, nil
		}
		errs = append(errs, k.put(&s))
	}
	return errors.Join(errs...)
}

func same(a, b wire.Alone) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

// list gives a copy of what is kept, by target.
func (k *keeper) list() []kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []kept
	for _, s := range k.m {
		if s.Envelope != nil {
			out = append(out, *s)
		}
	}
	slices.SortFunc(out, func(a, b kept) int { return strings.Compare(a.Target, b.Target) })
	return out
}

// get gives what is kept of a target.
func (k *keeper) get(target string) (kept, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.m[target]
	if s == nil || s.Envelope == nil {
		return kept{}, false
	}
	return *s, true
}

func (k *keeper) targets() []string {
	var out []string
	for _, s := range k.list() {
		out = append(out, s.Target)
	}
	return out
}

// cache keeps content by its sum.
type cache struct{ dir string }

func openCache(dir string) (*cache, error) {
	c := &cache{dir: filepath.Join(dir, "content")}
	return c, os.MkdirAll(c.dir, 0o700)
}

func validSum(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && strings.ToLower(s) == s
}

func (c *cache) has(s string) bool {
	_, err := os.Stat(filepath.Join(c.dir, s))
	return err == nil
}

// get gives content that is whole; a damaged file is removed.
func (c *cache) get(s string) ([]byte, error) {
	path := filepath.Join(c.dir, s)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if sum(b) != s {
		return nil, errors.Join(fmt.Errorf("content %s is damaged", s), os.Remove(path), fs.ErrNotExist)
	}
	return b, nil
}

func (c *cache) put(s string, b []byte) error {
	if sum(b) != s {
		return fmt.Errorf("the server sent other content than %s", s)
	}
	return writeFile(filepath.Join(c.dir, s), b)
}

// sweep removes what nobody needs and nobody has fetched lately.
func (c *cache) sweep(need map[string]bool, before time.Time) error {
	list, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range list {
		info, err := e.Info()
		if err != nil || need[e.Name()] || info.ModTime().After(before) {
			continue
		}
		errs = append(errs, os.Remove(filepath.Join(c.dir, e.Name())))
	}
	return errors.Join(errs...)
}
