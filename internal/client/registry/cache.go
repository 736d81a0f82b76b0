package registry

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// CacheDir is where fetched content is kept by default; "" means that this
// user has no such place.
func CacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "trueup", "artefacts")
}

// Bounds of a cache. What was used longest ago goes first.
const (
	maxCacheBytes  = 1 << 30
	maxMemoryBytes = 64 << 20
	maxCacheFiles  = 4096
)

// cache keeps content by its digest, in a directory that several processes
// may share, or in memory. What is read is checked against its digest, so that
// neither a broken disk nor a stranger's file is taken for the content.
type cache struct {
	dir string

	mu    sync.Mutex
	mem   map[string][]byte
	order []string // of mem, the oldest first
	bytes int
}

func fits(digest string, b []byte) bool {
	sum := sha256.Sum256(b)
	return digest == "sha256:"+hex.EncodeToString(sum[:])
}

func cacheKey(scope, digest string) string {
	return scope + "-" + strings.TrimPrefix(digest, "sha256:")
}

func (c *cache) get(scope, digest string, limit int64) ([]byte, bool) {
	key := cacheKey(scope, digest)
	if c.dir == "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		b, ok := c.mem[key]
		return b, ok
	}
	file := filepath.Join(c.dir, key)
	if st, err := os.Stat(file); err != nil || !st.Mode().IsRegular() || st.Size() > limit {
		return nil, false
	}
	b, err := os.ReadFile(file)
	if err != nil || !fits(digest, b) {
		return nil, false
	}
	now := time.Now()
	_ = os.Chtimes(file, now, now) // so that it goes later than what nobody uses
	return b, true
}

// put keeps content that was checked. A cache that can't be written to is no
// reason to fail.
func (c *cache) put(scope, digest string, b []byte) {
	key := cacheKey(scope, digest)
	if c.dir == "" {
		c.remember(key, b)
		return
	}
	if os.MkdirAll(c.dir, 0o700) != nil {
		return
	}
	tmp, err := os.CreateTemp(c.dir, ".new-")
	if err != nil {
		return
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // of what was not renamed
	_, err = tmp.Write(b)
	if cerr := tmp.Close(); err != nil || cerr != nil {
		return
	}
	if os.Rename(tmp.Name(), filepath.Join(c.dir, key)) == nil {
		c.sweep(maxCacheBytes, maxCacheFiles)
	}
}

func (c *cache) remember(key string, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.mem[key]; ok || len(b) > maxMemoryBytes {
		return
	}
	if c.mem == nil {
		c.mem = map[string][]byte{}
	}
	c.mem[key] = b
	c.order = append(c.order, key)
	for c.bytes += len(b); c.bytes > maxMemoryBytes; c.order = c.order[1:] {
		c.bytes -= len(c.mem[c.order[0]])
		delete(c.mem, c.order[0])
	}
}

// sweep removes what was used longest ago until the rest is within the
// bounds, and temporary files that a process left behind.
func (c *cache) sweep(maxBytes int64, maxFiles int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var files []os.FileInfo
	var total int64
	for _, e := range entries {
		st, err := e.Info()
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		if strings.HasPrefix(st.Name(), ".new-") {
			if time.Since(st.ModTime()) > time.Hour {
				_ = os.Remove(filepath.Join(c.dir, st.Name()))
			}
			continue
		}
		files, total = append(files, st), total+st.Size()
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for len(files) > maxFiles || total > maxBytes && len(files) > 0 {
		if os.Remove(filepath.Join(c.dir, files[0].Name())) != nil {
			return
		}
		total -= files[0].Size()
		files = files[1:]
	}
}
