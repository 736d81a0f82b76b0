package sshhosts

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const groupPrefix = "trueup-host-"

// groupsOf begins the names of the control groups of a lab's systemd hosts.
func (l *Lab) groupsOf() string { return fmt.Sprintf("%s%d-%d-", groupPrefix, os.Getpid(), l.subnet) }

// removeGroups removes the control groups of labs whose process is gone, and
// those whose name begins with ended.
func removeGroups(ended string) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if i := slices.Index(f, "-"); i < 0 || i+1 >= len(f) || f[i+1] != "cgroup2" {
			continue
		}
		dirs, _ := filepath.Glob(filepath.Join(f[4], groupPrefix+"*"))
		for _, dir := range dirs {
			owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), groupPrefix), "-")
			_, err := os.Stat("/proc/" + owner)
			if err != nil || ended != "" && strings.HasPrefix(filepath.Base(dir), ended) {
				removeGroup(dir)
			}
		}
	}
}

// removeGroup removes a tree of control groups; those with processes stay.
func removeGroup(dir string) {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		_ = os.Remove(d)
	}
}
