package ssh_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/plan"
)

func TestFilesDirectoriesLinks(t *testing.T) {
	b := newBench(t, "")
	b.file("files/motd", "hello\n")
	b.file("files/run", "#!/bin/sh\n")
	b.tree["hosts/files/run"].Mode = 0o755
	b.doc(`
directories:
  $D/app: { mode: "2750" }
  $D/app/data: {}
files:
  $D/app/motd: { source: files/motd, mode: "0640" }
  $D/app/run: { source: files/run }
  $D/app/empty: { content: "" }
  $D/app/data/nul: { content: "a\0b\\c\nd%s'x" }
symlinks:
  $D/app/current: { to: "data/../data" }
`)
	b.sync()
	b.has("app/motd", "hello\n")
	b.has("app/data/nul", "a\x00b\\c\nd%s'x")
	for name, want := range map[string]os.FileMode{"app": 0o750 | os.ModeSetgid, "app/motd": 0o640, "app/run": 0o755, "app/empty": 0o644, "app/data": 0o755} {
		info, err := os.Stat(b.at(name))
		if err != nil || info.Mode()&(os.ModePerm|os.ModeSetgid) != want {
			t.Errorf("%s: %v %v, not %v", name, info.Mode(), err, want)
		}
	}
	if to, _ := os.Readlink(b.at("app/current")); to != "data/../data" {
		t.Errorf("the link leads to %q", to)
	}
	// Drift of every sort is found and mended.
	for _, err := range []error{os.Chmod(b.at("app/motd"), 0o666), os.Chmod(b.at("app/data"), 0o700), os.Remove(b.at("app/current")),
		os.Symlink("/etc", b.at("app/current")), os.WriteFile(b.at("app/run"), []byte("evil"), 0o755), os.Remove(b.at("app/empty")), os.Mkdir(b.at("app/empty"), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.plan().Changes); n != 5 {
		t.Errorf("%d changes, there should be 5", n)
	}
	b.sync()
	b.has("app/run", "#!/bin/sh\n")
	b.has("app/empty", "")
	// What goes is removed; what others put there keeps its directory.
	b.put("app/data/theirs", "x", 0o644)
	b.doc("files:\n  $D/app/run: { source: files/run }\n")
	b.sync()
	b.has("app/data/theirs", "x")
	if _, err := os.Lstat(b.at("app/current")); err == nil {
		t.Error("the link is still there")
	}
	if entries, _ := os.ReadDir(b.at("app")); len(entries) != 2 {
		t.Errorf("left: %v", entries)
	}
}

func TestTreesAndTemplates(t *testing.T) {
	b := newBench(t, "")
	b.connect.Vars = map[string]any{"port": 80, "names": []any{"a", "b"}}
	host := b.connect.Hosts[hostName]
	host.Vars = map[string]any{"port": 8080}
	host.Groups = []string{"web"}
	b.connect.Hosts[hostName] = host
	b.vals = map[string]plan.Output{"lb": {Value: []byte(`"192.0.2.1"`)}, "unused": {Value: []byte(`1`)}}
	b.file("www/index.html", "<p>{{ not a template }}")
	b.file("www/conf/app.tmpl", "{{ .host.name }}:{{ .port }} {{ range .names }}[{{ . }}]{{ end }} {{ .lb }} {{ .color }} {{ .facts.kernel.name }}\n")
	b.file("www/.hidden", "h")
	b.file("www/skip.tmp", "s")
	b.tree["hosts/www/link"] = &fstest.MapFile{Data: []byte("index.html"), Mode: os.ModeSymlink}
	b.doc(`
vars: { color: red, port: 1 }
trees:
  $D/www: { source: www, templates: ["**/*.tmpl"], ignore: ["*.tmp"], modes: { ".hidden": "0600" }, dirMode: "0711" }
perGroup:
  web: { vars: { color: green } }
perHost:
  host1: { files: { $D/own: { content: own } } }
`)
	b.sync()
	b.has("www/conf/app.tmpl", "host1:8080 [a][b] 192.0.2.1 green Linux\n")
	b.has("www/index.html", "<p>{{ not a template }}")
	b.has("own", "own")
	if _, err := os.Stat(b.at("www/skip.tmp")); err == nil {
		t.Error("an ignored file is there")
	}
	if info, _ := os.Stat(b.at("www/conf")); info.Mode().Perm() != 0o711 {
		t.Error(info.Mode())
	}
	b.put("www/theirs", "foreign", 0o644)
	delete(b.tree, "hosts/www/.hidden")
	b.sync()
	b.has("www/theirs", "foreign")
	if _, err := os.Stat(b.at("www/.hidden")); err == nil {
		t.Error("what left the tree is still there")
	}
	b.file("www/conf/app.tmpl", "one\n{{ .nothing }}\n")
	if _, err := b.tryPlan(); err == nil || !strings.Contains(err.Error(), "hosts/www/conf/app.tmpl:1") || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("an unknown variable: %v", err)
	}
	b.file("www/conf/app.tmpl", "one\n{{ .host.none }}\n")
	if _, err := b.tryPlan(); err == nil || !strings.Contains(err.Error(), "hosts/www/conf/app.tmpl:2") {
		t.Errorf("an unknown field: %v", err)
	}
}

func TestBlocks(t *testing.T) {
	b := newBench(t, "")
	b.put("hosts", "127.0.0.1 localhost\nno newline at the end", 0o640)
	b.doc("blocks:\n  $D/hosts: { content: \"192.0.2.1 a\" }\n  $D/hosts#two: { content: \"192.0.2.2 b\\n\", comment: \"<!-- -->\" }\n  $D/new: { content: \"x\" }\n")
	b.sync()
	b.has("hosts", "127.0.0.1 localhost\nno newline at the end\n# BEGIN trueup block trueup\n192.0.2.1 a\n# END trueup block trueup\n"+
		"<!-- BEGIN trueup block two -->\n192.0.2.2 b\n<!-- END trueup block two -->\n")
	if info, _ := os.Stat(b.at("hosts")); info.Mode().Perm() != 0o640 {
		t.Error(info.Mode())
	}
	text, _ := os.ReadFile(b.at("hosts"))
	b.put("hosts", "first\n"+strings.Replace(string(text), "192.0.2.1 a", "192.0.2.9 evil", 1)+"last\n", 0o640)
	b.sync()
	b.has("hosts", "first\n"+string(text)+"last\n")
	b.doc("blocks:\n  $D/hosts: { content: \"192.0.2.1 a\" }\n")
	b.sync()
	b.has("hosts", "first\n127.0.0.1 localhost\nno newline at the end\n# BEGIN trueup block trueup\n192.0.2.1 a\n# END trueup block trueup\nlast\n")
	for name, broken := range map[string]string{
		"no end":    "# BEGIN trueup block trueup\nx\n",
		"no begin":  "x\n# END trueup block trueup\n",
		"two":       "# BEGIN trueup block trueup\n# END trueup block trueup\n# BEGIN trueup block trueup\n# END trueup block trueup\n",
		"crosswise": "# END trueup block trueup\n# BEGIN trueup block trueup\n",
	} {
		b.put("hosts", broken, 0o640)
		p := b.plan()
		if len(p.Changes) != 1 || !strings.Contains(p.Changes[0].Conflict, "broken") {
			t.Errorf("%s: %s", name, changes(p))
		}
		p.Changes[0].Conflict = "" // somebody approved it all the same
		bad, _ := b.carryOut(p)
		if len(bad) != 1 {
			t.Errorf("%s: it was written", name)
		}
		b.has("hosts", broken)
	}
}

// TestDiffs: plans show what changes in a text, but never what is not ours.
func TestDiffs(t *testing.T) {
	b := newBench(t, "")
	b.doc("files:\n  $D/a: { content: \"one\\n\" }\n  $D/s: { content: \"secret one\", sensitive: true }\n")
	b.sync()
	b.put("theirs", "secret of others", 0o644)
	b.doc("files:\n  $D/a: { content: \"two\\n\" }\n  $D/s: { content: \"secret two\", sensitive: true }\n  $D/theirs: { content: \"ours\" }\n")
	p := b.plan()
	all := changes(p)
	if !strings.Contains(all, `"content":"one\n"`) || !strings.Contains(all, `"content":"two\n"`) {
		t.Errorf("no text: %s", all)
	}
	if err := p.Mask(nil); err != nil {
		t.Fatal(err)
	}
	all = changes(p)
	if strings.Contains(all, "secret") {
		t.Errorf("it shows: %s", all)
	}
	if !strings.Contains(all, "no target owns it") {
		t.Errorf("a foreign file is no conflict: %s", all)
	}
	b.doc("files:\n  $D/a: { content: \"two\\n\" }\n  $D/s: { content: \"secret two\", sensitive: true }\n  $D/theirs: { content: \"ours\", takeOver: true }\n")
	b.sync()
	b.has("theirs", "ours")
}

func TestLargeFiles(t *testing.T) {
	b := newBench(t, "")
	large := strings.Repeat("0123456789abcdef\x00", 100_000)
	b.file("large", large)
	b.doc("files:\n  $D/large: { source: large, mode: \"0600\" }\n  $D/small: { content: x }\n")
	b.sync()
	b.has("large", large)
	b.put("large", strings.Repeat("x", len(large)), 0o600)
	b.sync()
	b.has("large", large)
	if entries, _ := os.ReadDir(b.dir); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestStaleOnTheHost: a change between the reading of an apply and its writing
// is found by the script that writes.
func TestStaleOnTheHost(t *testing.T) {
	b := newBench(t, "")
	b.doc("files:\n  $D/a: { content: one }\n  $D/b: { content: one }\n")
	b.sync()
	b.doc("files:\n  $D/a: { content: two }\n  $D/b: { content: two }\n")
	p := b.plan()
	b.put("a", "by hand", 0o644)
	bad, err := b.carryOut(p)
	if err == nil || len(bad) != 2 {
		t.Errorf("%v %+v", err, bad)
	}
	b.has("a", "by hand")
	b.sync()
	b.has("a", "two")
}

// names gives odd names of files.
func names() *rapid.Generator[string] {
	odd := rapid.SampledFrom([]string{"a", "-n", " ", "  x", "*", "?", "[a]", "$HOME", "`id`", "'", "\"", "\\", "\\n", "a\nb", "\n", "\t", "é", "\xff\xfe", "\x81\x88", "\x01", "\r", "~", "#", "&", ";", "|", "()", "{}", "!", "=", "%s", "--"})
	return rapid.Custom(func(t *rapid.T) string {
		s := strings.Join(rapid.SliceOfN(odd, 1, 4).Draw(t, "parts"), "")
		if s == "." || s == ".." || len(s) > 200 {
			return "x"
		}
		return s
	})
}

// TestAnyTreeRoundTrips: a tree of odd names, contents, modes and links is the
// same on the host as in the repository, and the next plan finds it so.
func TestAnyTreeRoundTrips(t *testing.T) {
	b := newBench(t, "")
	anyTree(t, b)
}

func anyTree(t *testing.T, b *bench) {
	t.Helper()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		root := fmt.Sprintf("tree%d", n)
		b.tree = fstest.MapFS{}
		want := map[string]string{}
		for range rapid.IntRange(1, 8).Draw(rt, "files") {
			name := names().Draw(rt, "name")
			if rapid.Bool().Draw(rt, "deep") {
				name = names().Draw(rt, "dir") + "/" + name
			}
			if taken(want, name) {
				continue
			}
			body := string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "body"))
			mode := rapid.SampledFrom([]os.FileMode{0o644, 0o755}).Draw(rt, "mode")
			if rapid.IntRange(0, 4).Draw(rt, "kind") == 0 {
				body = "t" + strings.ReplaceAll(body, "\x00", "")
				mode = os.ModeSymlink
			}
			want[name] = fmt.Sprintf("%v %q", mode, body)
			b.tree["hosts/t/"+name] = &fstest.MapFile{Data: []byte(body), Mode: mode}
		}
		if !b.valid() {
			return
		}
		b.doc(fmt.Sprintf("trees:\n  $D/%s: { source: t }\n", root))
		bad, err := b.apply()
		if err != nil || len(bad) > 0 {
			rt.Fatalf("%v %+v", err, bad)
		}
		if p := b.plan(); !p.Empty() {
			rt.Fatalf("%s", changes(p))
		}
		got := map[string]string{}
		top := b.at(root)
		err = filepath.WalkDir(top, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel := strings.TrimPrefix(p, top+"/")
			info, err := d.Info()
			if err != nil {
				return err
			}
			if info.Mode()&os.ModeSymlink != 0 {
				to, err := os.Readlink(p)
				got[rel] = fmt.Sprintf("%v %q", os.ModeSymlink, to)
				return err
			}
			body, err := os.ReadFile(p)
			got[rel] = fmt.Sprintf("%v %q", info.Mode(), body)
			return err
		})
		if err != nil {
			rt.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			rt.Fatalf("on the host:\n%v\nin the repository:\n%v", got, want)
		}
	})
}

// taken tells whether a name can't stand beside those there are.
func taken(have map[string]string, name string) bool {
	for h := range have {
		if h == name || strings.HasPrefix(h, name+"/") || strings.HasPrefix(name, h+"/") {
			return true
		}
	}
	return false
}

// valid tells whether io/fs can hold the tree.
func (b *bench) valid() bool {
	for name := range b.tree {
		if _, err := b.tree.Open(name); err != nil {
			return false
		}
	}
	return len(b.tree) > 0
}
