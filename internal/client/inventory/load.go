package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/plan"
)

// maxFile bounds an inventory file.
const maxFile = 8 << 20

// Load reads an inventory. Path is a file ("" for none), static is what stands
// in the configuration itself; the file's hosts come first. Findings name file
// and line; the inventory is nil when there are errors.
func Load(path string, static *Spec) (*Inventory, plan.Diagnostics) {
	b := newBuilder()
	if path != "" {
		text, err := readFile(path)
		if err != nil {
			b.diags.Errorf(plan.Source{File: path}, "inventory", "", "%v", err)
			return nil, b.diags
		}
		b.parse(path, text)
		b.beside(filepath.Dir(path))
	}
	if static != nil {
		b.own(static, slices.Sorted(maps.Keys(static.Hosts)), func(f string) plan.Source { return plan.Source{} })
	}
	inv, diags := b.finish()
	if diags.Err() != nil {
		return nil, diags
	}
	return inv, diags
}

// Parse reads an inventory from its text. The file's name says which form it
// has: .yaml and .yml are YAML, everything else is INI.
func Parse(file string, body []byte) (*Inventory, plan.Diagnostics) {
	b := newBuilder()
	b.parse(file, body)
	inv, diags := b.finish()
	if diags.Err() != nil {
		return nil, diags
	}
	return inv, diags
}

func (b *builder) parse(file string, body []byte) {
	if isYAML(file) {
		b.yaml(file, body)
		return
	}
	b.ini(file, body)
}

func isYAML(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.Mode()&0o111 != 0 && info.Mode().IsRegular() {
		head := make([]byte, 2)
		if n, _ := f.ReadAt(head, 0); n == 2 && string(head) == "#!" {
			return nil, errors.New("it is a program: inventories that have to be run are not supported")
		}
	}
	body, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return body, nil
}

// beside reads Ansible's group_vars and host_vars next to the inventory, for
// the groups and hosts that there are.
func (b *builder) beside(dir string) {
	for _, name := range slices.Sorted(maps.Keys(b.groups)) {
		b.varsOf(filepath.Join(dir, "group_vars", name), b.groups[name].vars)
	}
	for _, name := range slices.Sorted(maps.Keys(b.hosts)) {
		own := map[string]any{}
		b.varsOf(filepath.Join(dir, "host_vars", name), own)
		for k, v := range own {
			b.hosts[name].vars[k] = v
		}
	}
}

// varsOf reads name.yml, name.yaml, name, or every file of the directory name.
func (b *builder) varsOf(path string, into map[string]any) {
	files := []string{path + ".yaml", path + ".yml", path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		files = files[:2]
		entries, err := os.ReadDir(path)
		if err != nil {
			b.diags.Errorf(plan.Source{File: path}, "", "", "%v", err)
		}
		for _, e := range entries {
			if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	}
	for _, file := range files {
		body, err := readFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		at := plan.Source{File: file}
		if err != nil {
			b.diags.Errorf(at, "", "", "%v", err)
			continue
		}
		if bytes.HasPrefix(body, []byte("$ANSIBLE_VAULT")) {
			b.diags.Errorf(at, "", "keep secrets in trueup's own secret references", "it is encrypted with Ansible Vault, which can't be read")
			continue
		}
		root, diags := strict.Parse(file, body)
		b.diags = append(b.diags, diags...)
		if root == nil {
			continue
		}
		d := strict.NewDecoder(file)
		vars := map[string]any{}
		d.Decode(root, &vars, "")
		b.diags = append(b.diags, d.Diags...)
		maps.Copy(into, vars)
	}
}
