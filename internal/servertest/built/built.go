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
	lines, err := Script("server.sh", name)
	if err != nil {
		return "", err
	}
	if len(lines) != 1 {
		return "", fmt.Errorf("scripts/server.sh %s printed %q", name, lines)
	}
	paths[name] = lines[0]
	return paths[name], nil
}

// Script runs a program of the scripts directory and gives the lines that it
// prints.
func Script(name string, args ...string) ([]string, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(root, "scripts", name), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("scripts/%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.Fields(string(out)), nil
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
