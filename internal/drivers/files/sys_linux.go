package files

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// stampOf reads what tells one state of a file from another.
func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), mode: info.Mode(), change: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode, s.uid, s.gid = st.Ino, int(st.Uid), int(st.Gid)
		s.change = time.Unix(st.Ctim.Unix())
	}
	return s
}

// realmOf names a directory by what it is, not by its path: the file system's
// id, which survives a restart where the file system keeps one, and the inode.
func realmOf(dir *os.File) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(dir.Fd()), &st); err != nil {
		return "", fmt.Errorf("stat: %w", err)
	}
	var fsys syscall.Statfs_t
	if err := syscall.Fstatfs(int(dir.Fd()), &fsys); err != nil {
		return "", fmt.Errorf("statfs: %w", err)
	}
	id := uint64(uint32(fsys.Fsid.X__val[0]))<<32 | uint64(uint32(fsys.Fsid.X__val[1]))
	if id == 0 {
		id = st.Dev
	}
	return fmt.Sprintf("dir:%016x:%d", id, st.Ino), nil
}

// lockFile takes an exclusive lock without waiting; it ends with the process.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
