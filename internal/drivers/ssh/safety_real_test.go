//go:build real

package ssh_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// These tests run as root: they are about what other users of a host could
// make root do.

const stranger = 54321

func owned(t *testing.T, b *bench, name string, uid int, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(b.at(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(b.at(name), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(b.at(name), uid, uid); err != nil {
		t.Fatal(err)
	}
}

// reachable opens the way to a test's directory for others.
func (b *bench) reachable() {
	b.Helper()
	for dir := b.dir; dir != "/tmp" && len(dir) > 1; dir = dir[:strings.LastIndexByte(dir, '/')] {
		if err := os.Chmod(dir, 0o755); err != nil {
			b.Fatal(err)
		}
	}
}

func uidOf(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

// TestWritesAsTheOwnerOfTheDirectory: in a directory that belongs to somebody
// else, everything is done as that user.
func TestWritesAsTheOwnerOfTheDirectory(t *testing.T) {
	b := newBench(t, "")
	b.reachable()
	owned(t, b, "home", stranger, 0o755)
	b.doc("directories:\n  $D/home/d: {}\nfiles:\n  $D/home/f: { content: one }\n  $D/home/d/f: { content: two, mode: \"0600\" }\nsymlinks:\n  $D/home/l: { to: f }\n")
	b.sync()
	for _, name := range []string{"home/f", "home/d", "home/d/f", "home/l"} {
		if uid := uidOf(t, b.at(name)); uid != stranger {
			t.Errorf("%s belongs to %d", name, uid)
		}
	}
	// What only root could give is refused.
	b.doc("files:\n  $D/home/f: { content: root's, owner: root }\n")
	bad, _ := b.apply()
	if r := bad[addr(b, "home/f")]; r.Error == "" {
		t.Errorf("%+v", bad)
	}
	b.has("home/f", "one")
	b.doc("directories:\n  $D/home/d: { mode: \"0700\" }\nfiles:\n  $D/home/f: { content: three }\n")
	b.sync()
	b.has("home/f", "three")
}

// TestPlantedLinks: links that a user planted lead nothing out of what is
// theirs.
func TestPlantedLinks(t *testing.T) {
	b := newBench(t, "")
	b.reachable()
	owned(t, b, "home", stranger, 0o755)
	owned(t, b, "etc", 0, 0o755)
	b.put("etc/passwd", "precious", 0o644)
	for link, to := range map[string]string{"home/conf": b.at("etc"), "home/file": b.at("etc/passwd")} {
		if err := os.Symlink(to, b.at(link)); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(b.at(link), stranger, stranger); err != nil {
			t.Fatal(err)
		}
	}
	b.doc("files:\n  $D/home/conf/passwd: { content: evil, takeOver: true }\n  $D/home/conf/new: { content: evil }\n  $D/home/file: { content: mine, takeOver: true }\n")
	bad, err := b.apply()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"home/conf/passwd", "home/conf/new"} {
		if r := bad[addr(b, name)]; !strings.Contains(r.Error, "ermission denied") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	b.has("etc/passwd", "precious")
	if _, err := os.Lstat(b.at("etc/new")); err == nil {
		t.Error("a file was made through a planted link")
	}
	// The link itself is replaced, not followed.
	b.has("home/file", "mine")
	if info, _ := os.Lstat(b.at("home/file")); !info.Mode().IsRegular() {
		t.Error("the link was followed")
	}
	// A link of root's in a directory of root's is followed.
	if err := os.Symlink("etc", b.at("config")); err != nil {
		t.Fatal(err)
	}
	b.doc("files:\n  $D/config/ours: { content: ours }\n")
	b.sync()
	b.has("etc/ours", "ours")
	// A link of root's that leads into a user's directory: it is the user's.
	if err := os.Symlink("home", b.at("app")); err != nil {
		t.Fatal(err)
	}
	b.doc("files:\n  $D/app/theirs: { content: x }\n")
	b.sync()
	if uid := uidOf(t, b.at("home/theirs")); uid != stranger {
		t.Errorf("it belongs to %d", uid)
	}
}

// TestSharedDirectories: in a directory that others may write to, files are
// made aside; nothing is written below it.
func TestSharedDirectories(t *testing.T) {
	b := newBench(t, "")
	b.reachable()
	owned(t, b, "shared", 0, 0o777)
	owned(t, b, "shared/sub", 0, 0o755)
	owned(t, b, "sticky", 0, 0o777|os.ModeSticky)
	owned(t, b, "sticky/sub", 0, 0o755)
	b.doc("files:\n  $D/shared/f: { content: x }\n  $D/shared/sub/f: { content: x }\n  $D/sticky/f: { content: x }\n  $D/sticky/sub/f: { content: x }\n")
	bad, err := b.apply()
	if err != nil || len(bad) != 1 || !strings.Contains(bad[addr(b, "shared/sub/f")].Error, "could be led elsewhere") {
		t.Errorf("%v %+v", err, bad)
	}
	b.has("shared/f", "x")
	b.has("sticky/f", "x")
	b.has("sticky/sub/f", "x")
}

// TestRaceForTheDirectory: somebody exchanges a directory of theirs for a link
// to one of root's, over and over, while files are written there.
func TestRaceForTheDirectory(t *testing.T) {
	b := newBench(t, "")
	b.reachable()
	owned(t, b, "home", stranger, 0o755)
	owned(t, b, "home/real", stranger, 0o755)
	owned(t, b, "root", 0, 0o755)
	owned(t, b, "shared", 0, 0o777)
	if err := os.Symlink(b.at("root"), b.at("home/link")); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan bool)
	go func() {
		defer close(done)
		for !stop.Load() {
			_ = syscall.Rename(b.at("home/real"), b.at("home/conf"))
			time.Sleep(200 * time.Microsecond)
			_ = syscall.Rename(b.at("home/conf"), b.at("home/real"))
			_ = syscall.Rename(b.at("home/link"), b.at("home/conf"))
			time.Sleep(200 * time.Microsecond)
			_ = syscall.Rename(b.at("home/conf"), b.at("home/link"))
			// In the shared directory: the staging directory is exchanged.
			entries, _ := os.ReadDir(b.at("shared"))
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), ".trueup-") {
					_ = os.Rename(b.at("shared/"+e.Name()), b.at("shared/moved"))
					_ = os.Symlink(b.at("root"), b.at("shared/"+e.Name()))
				}
			}
		}
	}()
	for i := range 40 {
		b.doc(fmt.Sprintf("files:\n  $D/home/conf/f: { content: \"%d\", takeOver: true }\n  $D/shared/f: { content: \"%d\", takeOver: true }\n", i, i))
		p, err := b.tryPlan()
		if err != nil || len(p.UnknownScopes()) > 0 {
			continue
		}
		_, _ = b.carryOut(p)
	}
	stop.Store(true)
	<-done
	if entries, _ := os.ReadDir(b.at("root")); len(entries) != 0 {
		t.Errorf("root's directory was written to: %v", entries)
	}
}
