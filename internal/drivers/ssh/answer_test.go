package ssh

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

func realAnswer(t testing.TB) (*probe, []byte) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "x", "b c": "y\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a\nb", filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	p := newProbe()
	p.script.nonce = "NONCE0123456789"
	for _, n := range []string{"a", "b c", "l", "none"} {
		p.path(filepath.Join(dir, n))
	}
	p.content(filepath.Join(dir, "a"))
	p.list(dir)
	p.count(dir)
	p.part("accounts", accountsPart)
	p.finish()
	out, err := runScript(t.Context(), &local{}, p.script, false, maxAnswer)
	if err != nil {
		t.Fatal(err)
	}
	return p, out
}

// TestAnswerIsWholeOrNone: an answer that ends anywhere before its end, or
// lacks a line, is no answer.
func TestAnswerIsWholeOrNone(t *testing.T) {
	p, out := realAnswer(t)
	a, err := p.parse(out)
	if err != nil || len(a.paths) != 3 || a.facts.Kernel.Name != "Linux" || len(a.accounts().users) == 0 {
		t.Fatalf("%v %+v", err, a)
	}
	for n := range len(out) - 1 {
		if _, err := p.parse(out[:n]); err == nil {
			t.Fatalf("it was taken for whole after %d of %d bytes", n, len(out))
		}
	}
	lines := bytes.SplitAfter(out, []byte("\n"))
	looked := false
	for i, l := range lines {
		looked = looked && !bytes.HasPrefix(l, []byte(p.script.nonce)) || bytes.HasPrefix(l, []byte(p.script.nonce+" look"))
		if !looked {
			continue
		}
		cut := bytes.Join(append(append([][]byte{}, lines[:i]...), lines[i+1:]...), nil)
		if _, err := p.parse(cut); err == nil {
			t.Errorf("without the line %q it was taken for whole", l)
		}
	}
}

// FuzzAnswer: whatever a host says, it is read without harm, and what is read
// was asked for.
func FuzzAnswer(f *testing.F) {
	p, out := realAnswer(f)
	f.Add(out)
	f.Add(bytes.ReplaceAll(out, []byte("81a4"), []byte("a1ff")))
	f.Add([]byte(p.script.nonce + " facts\nuid x\n" + p.script.nonce + " end\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := p.parse(text)
		if err != nil {
			return
		}
		for name, fact := range a.paths {
			if !p.asked[name] || !fact.Hidden && fact.kind() == "" {
				t.Errorf("%q: %+v", name, fact)
			}
		}
		a.accounts()
		if _, err := plainJSON(a.facts); err != nil {
			t.Error(err)
		}
	})
}

// FuzzFacts: facts from anything.
func FuzzFacts(f *testing.F) {
	f.Add("uid 0\nkernel Linux 6.1 x86_64\nmemory 1024 kB\nos ID=debian\nos PRETTY_NAME=\"Debian\"\ntool gzip\nhostname h\n")
	f.Add("uid -1\nmemory 99999999999999999999\nos =\nkernel\n")
	f.Fuzz(func(t *testing.T, text string) {
		facts := parseFacts(text)
		if _, err := plainJSON(facts); err != nil {
			t.Error(err)
		}
		h := &host{t: &local{}, facts: facts}
		if !strings.HasPrefix(h.realm(), "host") {
			t.Error(h.realm())
		}
	})
}

// TestScriptThatIsCutShort does nothing at all.
func TestScriptThatIsCutShort(t *testing.T) {
	dir := t.TempDir()
	w := &writer{script: newScript(), ids: map[plan.Key]int{}}
	for i := range 20 {
		fmt.Fprintf(w, "echo x >%s/%d\n", quote(dir), i)
	}
	text, err := io.ReadAll(w.text(true))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(text)-len("main </dev/null\nexit\n"); n += 37 {
		_ = (&local{}).run(t.Context(), shellFromStdin, bytes.NewReader(text[:n]), io.Discard)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("%d files were written", len(entries))
	}
	if err := (&local{}).run(t.Context(), shellFromStdin, bytes.NewReader(text), io.Discard); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 20 {
		t.Errorf("%d files were written by the whole script", len(entries))
	}
}

// TestOutcomes: what the host did not say, or said before it was cut off, is
// not known.
func TestOutcomes(t *testing.T) {
	errs := outcomes([]byte("N 0 ok\nbecause\nof this\nN 1 no\nwas moved\nN stale\nN 2 stale\nN end\n"), "N", 4, nil)
	if errs[0] != nil || errs[1].Error() != "because of this" || errs[2] == nil || !isUnknown(errs[3]) {
		t.Errorf("%v", errs)
	}
	errs = outcomes([]byte("N 0 ok\nN 1 no\n"), "N", 2, nil)
	if !isUnknown(errs[0]) || isUnknown(errs[1]) {
		t.Errorf("%v", errs)
	}
}

func isUnknown(err error) bool {
	return err != nil && strings.Contains(err.Error(), setplan.ErrUnknown.Error())
}
