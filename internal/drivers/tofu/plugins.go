package tofu

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"golang.org/x/mod/sumdb/dirhash"
)

// pluginStore shares providers between working copies. The programs' own
// plug-in cache is written in place, which breaks whoever runs a provider from
// it at that moment. So none of them ever writes here: every package lies under
// its own hash, comes by one rename and never changes. An init sees, as its
// plug-in cache, a directory of its own with links to those packages that its
// lock file allows; what it fetches beside them is moved here afterwards.
type pluginStore struct {
	dir   string
	owner *owner
}

// lockedProvider is an entry of a lock file.
type lockedProvider struct {
	address, version string
	hashes           []string
}

func readLockFile(body []byte) []lockedProvider {
	f, diags := hclsyntax.ParseConfig(body, lockName, hcl.InitialPos)
	if diags.HasErrors() {
		return nil // the program says what is wrong with it
	}
	content, _, _ := f.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "provider", LabelNames: []string{"address"}}}})
	var out []lockedProvider
	for _, b := range content.Blocks {
		p := lockedProvider{address: b.Labels[0], version: literal(b.Body, "version")}
		attrs, _, _ := b.Body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "hashes"}}})
		if a := attrs.Attributes["hashes"]; a != nil {
			_ = gohcl.DecodeExpression(a.Expr, nil, &p.hashes)
		}
		if p.version != "" && !strings.Contains(p.address, "..") && fs.ValidPath(p.address) {
			out = append(out, p)
		}
	}
	return out
}

// place is where a package with a hash lies; false for other kinds of hash.
func (p pluginStore) place(hash string) (string, bool) {
	b64, ok := strings.CutPrefix(hash, "h1:")
	if !ok {
		return "", false
	}
	sum, err := base64.StdEncoding.DecodeString(b64)
	if err != nil || len(sum) != 32 {
		return "", false
	}
	return filepath.Join(p.dir, hex.EncodeToString(sum)), true
}

func (p pluginStore) openLock(name string) (*os.File, error) {
	if err := os.MkdirAll(p.dir, 0o711); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(p.dir, name), os.O_CREATE|os.O_RDWR, 0o600)
}

// stage makes the plug-in cache of one init.
func (p pluginStore) stage(key string, lock []byte) (string, error) {
	dir := filepath.Join(p.dir, "staging-"+key)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for _, l := range readLockFile(lock) {
		for _, h := range l.hashes {
			at, ok := p.place(h)
			if !ok {
				continue
			}
			if _, err := os.Stat(at); err != nil {
				continue
			}
			leaf := filepath.Join(dir, filepath.FromSlash(l.address), l.version, runtime.GOOS+"_"+runtime.GOARCH)
			if err := os.MkdirAll(filepath.Dir(leaf), 0o700); err != nil {
				return "", err
			}
			if err := os.Symlink(at, leaf); err != nil && !errors.Is(err, fs.ErrExist) {
				return "", err
			}
		}
	}
	return dir, p.owner.giveAll(dir)
}

// publish moves what an init fetched to the store, and makes the working data
// point there.
func (p pluginStore) publish(staging, providers string) error {
	leaves, err := filepath.Glob(filepath.Join(providers, "*", "*", "*", "*", "*"))
	if err != nil {
		return err
	}
	for _, leaf := range leaves {
		to, err := os.Readlink(leaf)
		if err != nil {
			continue // a directory of its own
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(leaf), to)
		}
		if !strings.HasPrefix(to, staging+string(filepath.Separator)) {
			continue // a mirror of the operator's
		}
		at, err := p.keep(to)
		if err != nil {
			return fmt.Errorf("provider %s: %w", strings.TrimPrefix(leaf, providers), err)
		}
		if err := os.Remove(leaf); err != nil {
			return err
		}
		if err := os.Symlink(at, leaf); err != nil {
			return err
		}
	}
	return nil
}

// keep brings one package of a staging directory into the store.
func (p pluginStore) keep(staged string) (string, error) {
	if at, err := os.Readlink(staged); err == nil {
		return at, nil // it came from the store, or from a mirror
	}
	hash, err := dirhash.HashDir(staged, "", dirhash.Hash1)
	if err != nil {
		return "", err
	}
	at, ok := p.place(hash)
	if !ok {
		return "", fmt.Errorf("the hash %q has no place", hash)
	}
	if p.owner != nil {
		// Packages belong to trueup: no program changes what others run.
		err = filepath.WalkDir(staged, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if err := os.Lchown(name, os.Geteuid(), os.Getegid()); err != nil {
				return err
			}
			return os.Chmod(name, 0o755)
		})
		if err != nil {
			return "", err
		}
	}
	err = os.Rename(staged, at)
	if errors.Is(err, fs.ErrExist) || err != nil && exists(at) {
		return at, nil
	}
	return at, err
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
