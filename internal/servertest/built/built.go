// Package built gives tests the programs that are built from Go modules into
// the cache directory by scripts/server.sh.
package built

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

var (
	mu    sync.Mutex
	paths = map[string]string{}
)

// Program gives the path of a program that scripts/server.sh knows, and builds
// it when it is not in the cache directory, which takes minutes.
func Program(name string) (string, error) {
	mu.Lock()
	defer mu.Unlock()
	if p := paths[name]; p != "" {
		return p, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(root, "scripts", "server.sh"), name)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s can't be built: %w\n%s", name, err, stderr.String())
	}
	paths[name] = strings.TrimSpace(string(out))
	return paths[name], nil
}

// moduleRoot is the directory of trueup's go.mod, at or above the working
// directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		b, rerr := os.ReadFile(filepath.Join(dir, "go.mod"))
		if rerr == nil && bytes.HasPrefix(b, []byte("module trueup.dev/trueup\n")) {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("not inside trueup's sources")
		}
		dir = up
	}
	return "", err
}
