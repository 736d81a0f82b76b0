package ssh

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSudoersThatSudoCantRead: a file that would shut everybody out, and us
// with them, does not come to its place.
func TestSudoersThatSudoCantRead(t *testing.T) {
	for place, want := range map[string]string{"/etc/sudoers": "sudoers ./x", "/etc/sudoers.d/app": "sudoers ./x", "/etc/sudoers.d.old/app": "", "/srv/etc/sudoers": "", "/etc/passwd": ""} {
		if got := sudoers(place, "./x"); got != want {
			t.Errorf("%s: %q", place, got)
		}
	}
	dir := t.TempDir()
	fake := "#!/bin/sh\n[ \"$1\" = -cf ] && grep -q ALL \"$2\" || { echo \"$2:1: syntax error\"; exit 1; }\n"
	if err := os.WriteFile(filepath.Join(dir, "visudo"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"good": "deploy ALL=(ALL) NOPASSWD: ALL\n", "bad": "deploy ALl\n"} {
		file := filepath.Join(dir, name)
		s := newScript()
		fmt.Fprintf(s, "PATH=%s:$PATH\nW=$U\nD=$(stat -c %%d:%%i %s)\ncd %s && stage || { no 0; exit; }\n", dir, dir, dir)
		fmt.Fprintf(s, "unit 0 %s ./%s\n", quote(all([]string{inline([]byte(text)) + " >./" + name, sudoers("/etc/sudoers.d/"+name, "./"+name), "free ../" + name})), name)
		out, err := runScript(t.Context(), &local{}, s, true, maxAnswer)
		errs := outcomes(out, s.nonce, 1, err)
		_, there := os.Stat(file)
		if name == "good" && (errs[0] != nil || there != nil) {
			t.Errorf("%v %v", errs[0], there)
		}
		if name == "bad" && (errs[0] == nil || !strings.Contains(errs[0].Error(), "let nobody in") || there == nil) {
			t.Errorf("%v %v", errs[0], there)
		}
	}
}
