package files

import (
	"io/fs"
	"os"
	"time"
)

// leftoverAge is how old an unfinished file must be before it is removed.
const leftoverAge = time.Minute

// sweep removes what a killed process left unfinished in a directory: files
// under a temporary name that nobody has locked. It looks once in each
// directory that an apply writes to; what it can't remove does no harm.
func (s *set) sweep(at *os.Root, dir string) {
	if s.swept[dir] {
		return
	}
	s.swept[dir] = true
	names, err := list(at)
	if err != nil {
		return
	}
	for _, name := range names {
		if isTemp(name) && s.leftover(at, name) {
			if err := at.Remove(name); err == nil {
				s.log.Logf("files: removed %s in %s, left by an apply that was cut off", name, dir)
			}
		}
	}
}

func (s *set) leftover(at *os.Root, name string) bool {
	info, err := at.Lstat(name)
	if err != nil || s.in.Now.Sub(stampOf(info).change) < leftoverAge {
		return false
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return true
	}
	f, err := openSame(at, name, info)
	if err != nil {
		return false
	}
	defer f.Close()
	return lockFile(f) == nil
}
