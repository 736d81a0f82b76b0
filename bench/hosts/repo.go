package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"trueup.dev/trueup/internal/servertest/sshhosts"
)

// repo is a checkout with one target and the operator's configuration for it.
type repo struct {
	b          *bench
	dir        string // the checkout
	config     string
	files      string // the directory that is brought to the hosts
	generation int
}

// newRepo makes a checkout whose target mirrors files to a place on the hosts.
func (b *bench) newRepo(hosts []*sshhosts.Host, document string) (*repo, error) {
	base, err := os.MkdirTemp(b.dir, "repo-")
	if err != nil {
		return nil, err
	}
	r := &repo{b: b, dir: filepath.Join(base, "checkout"), config: filepath.Join(base, "server.yaml")}
	r.files = filepath.Join(r.dir, "hosts", "files")
	if err := os.MkdirAll(r.files, 0o755); err != nil {
		return nil, err
	}
	var list strings.Builder
	for _, h := range hosts {
		fmt.Fprintf(&list, "        %s: {address: %s}\n", h.Name, h.Addr)
	}
	server := fmt.Sprintf(`version: 1
dataDir: %s
repositories:
  infra: {url: "file://%s", branch: main}
policies:
  open: {guard: {update: {max: 1000000, share: 100%%}}}
environments:
  hosts:
    driver: ssh
    policy: open
    connect:
      key: file:%s
      knownHosts: %s
      hosts:
%s    allow:
      - {repository: infra}
`, filepath.Join(base, "data"), r.dir, b.lab.Key, b.lab.KnownHosts, list.String())
	for path, text := range map[string]string{
		r.config:                                server,
		filepath.Join(r.dir, "trueup.yaml"):     "version: 1\ntargets:\n  - {name: app, environment: hosts, path: hosts}\n",
		filepath.Join(r.dir, "hosts/host.yaml"): document,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	_, err = command(nil, r.dir, "git", "init", "-q", "-b", "main")
	return r, err
}

// fill writes small files: lines of text, two to eight kilobytes, in directories of twenty.
func (r *repo) fill(n int) error {
	r.generation++
	for i := range n {
		dir := filepath.Join(r.files, fmt.Sprintf("d%02d", i/20))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := r.write(filepath.Join(dir, fmt.Sprintf("file%03d.conf", i)), i); err != nil {
			return err
		}
	}
	return nil
}

func (r *repo) write(path string, i int) error {
	var b strings.Builder
	for line := 0; b.Len() < 2048+i%4*2048; line++ {
		fmt.Fprintf(&b, "setting_%d_%d = value %x of generation %d\n", i, line, i*7919+line*104729, r.generation)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// touchOne changes one file.
func (r *repo) touchOne() error {
	r.generation++
	return r.write(filepath.Join(r.files, "d00", "file003.conf"), 3)
}

// apply runs trueup apply on the checkout: it plans, applies and reads back.
func (r *repo) apply() (cost, error) {
	return command(nil, r.dir, r.b.bin, "apply", "--config", r.config, "--auto-approve")
}
