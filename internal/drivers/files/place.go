package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// errNotDir says that something on the way to a path is a symbolic link or
// another thing that is no directory. Links are never followed: whoever may
// plant one could otherwise choose where we write.
var errNotDir = errors.New("is not a directory")

// place is the root directory and the only way to what lies below it.
type place struct {
	root  *os.Root
	path  string
	realm string
	euid  int
}

func openPlace(dir string) (*place, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	p := &place{root: root, path: dir, euid: os.Geteuid()}
	f, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	defer f.Close()
	if p.realm, err = realmOf(f); err != nil {
		root.Close()
		return nil, err
	}
	return p, nil
}

func (p *place) close() error { return p.root.Close() }

// enter opens a directory below the root, one name after the other, and
// makes sure each time that what was opened is what was looked at: a plain
// directory. To write, each must also be safe to write through.
func (p *place) enter(dir string, write bool) (*os.Root, error) {
	at, err := p.root.OpenRoot(".")
	if err != nil {
		return nil, err
	}
	if write {
		if err := p.checkRoot(at); err != nil {
			at.Close()
			return nil, err
		}
	}
	if dir == "." {
		return at, nil
	}
	gone := "."
	for _, name := range strings.Split(dir, "/") {
		gone = path.Join(gone, name)
		next, err := p.step(at, name, gone, write)
		at.Close()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

func (p *place) step(at *os.Root, name, full string, write bool) (*os.Root, error) {
	seen, err := at.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !seen.IsDir() {
		return nil, fmt.Errorf("%s %w", full, errNotDir)
	}
	next, err := at.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := next.Stat(".")
	if err == nil && !os.SameFile(seen, opened) {
		err = fmt.Errorf("%s %w any more", full, errNotDir)
	}
	if err == nil && write {
		err = p.safe(opened, filepath.Join(p.path, full))
	}
	if err != nil {
		next.Close()
		return nil, err
	}
	return next, nil
}

// checkRoot looks at the root and, for root's sake, at every directory above:
// their owners could put another directory in its place.
func (p *place) checkRoot(at *os.Root) error {
	info, err := at.Stat(".")
	if err != nil {
		return err
	}
	if err := p.safe(info, p.path); err != nil {
		return err
	}
	if p.euid != 0 {
		return nil
	}
	real, err := filepath.EvalSymlinks(p.path)
	if err != nil {
		return err
	}
	for dir := filepath.Dir(real); ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		if err := p.safe(info, dir); err != nil {
			return err
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// safe refuses, when running as root, a directory that another user controls:
// the owner, or anybody where it is open to all without the sticky bit, could
// swap what we write for a link and so have root write elsewhere.
func (p *place) safe(info fs.FileInfo, full string) error {
	if p.euid != 0 {
		return nil
	}
	if st := stampOf(info); st.uid != 0 {
		return fmt.Errorf("%s belongs to user %d: root does not write through a directory of another user; "+
			"give it to root or run trueup as that user", full, st.uid)
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%s is writable for everybody: root does not write through it; chmod o-w or set its sticky bit", full)
	}
	return nil
}

// parentOf splits a path below the root into directory and name.
func parentOf(rel string) (dir, name string) { return path.Dir(rel), path.Base(rel) }
