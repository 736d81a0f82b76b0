package secret

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile bounds a secret's size in bytes.
const maxFile = 1 << 20

// Env resolves "env:NAME" from the process environment.
type Env struct{}

// Resolve gives the variable's value; an unset variable is ErrNotFound.
func (Env) Resolve(_ context.Context, name string) (Value, error) {
	v, ok := os.LookupEnv(name)
	if !ok {
		return Value{}, fmt.Errorf("environment variable %s is not set: %w", name, ErrNotFound)
	}
	return New(v), nil
}

// File resolves "file:PATH". A relative path starts at Dir. One trailing line
// break is cut off.
type File struct{ Dir string }

// Resolve reads the file.
func (f File) Resolve(_ context.Context, path string) (Value, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(f.Dir, path)
	}
	file, err := os.Open(path)
	if err != nil {
		return Value{}, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return Value{}, err
	}
	if len(b) > maxFile {
		return Value{}, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return New(strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")), nil
}

func (rs Resolvers) schemes() []string {
	var out []string
	for s := range rs {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}
