package ssh

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// probe is the script that reads a host: facts, paths and whatever kinds add,
// in one round trip.
type probe struct {
	script   *script
	paths    []string
	asked    map[string]bool
	contents []string
	lists    []string
	counts   []string
	names    bool     // whether owners are asked for by name
	counting bool     // whether names beside ours are counted
	bigs     []string // large files
	host     string   // what remembers them (bigfile.go)
	own      []string // names of the kinds' own parts
}

func newProbe() *probe {
	return &probe{script: newScript(), asked: map[string]bool{}}
}

// path asks what there is at an absolute path: type, mode, owner, sum, target.
func (p *probe) path(name string) {
	if !p.asked[name] {
		p.asked[name] = true
		p.paths = append(p.paths, name)
	}
}

// content asks for the whole content of a small file, beside what path asks.
func (p *probe) content(name string) {
	p.path(name)
	if !p.asked["\x00"+name] {
		p.asked["\x00"+name] = true
		p.contents = append(p.contents, name)
	}
}

// list asks for the names in a directory.
func (p *probe) list(dir string) { p.lists = append(p.lists, dir) }

// count asks how many names there are in a directory.
func (p *probe) count(dir string) {
	if !p.asked["\x02"+dir] {
		p.asked["\x02"+dir] = true
		p.counts = append(p.counts, dir)
	}
}

// part adds a piece of shell of a kind's own. What it prints is given by
// answer.part under the same name. Adding a name twice is one part.
func (p *probe) part(name, text string) {
	if !p.asked["\x01"+name] {
		p.asked["\x01"+name] = true
		p.own = append(p.own, name)
		fmt.Fprintf(p.script, "echo \"$N part %s\"\n%s\n", name, text)
	}
}

// functions adds the shell functions of the kinds beside files, once.
func (p *probe) functions() {
	if !p.asked["\x02"] {
		p.asked["\x02"] = true
		p.script.WriteString(kindsLib)
	}
}

const (
	// maxWords is how long the words of one shell command may be together. The
	// kernel allows 128 KB for one and megabytes for all.
	maxWords  = 64 << 10
	maxPaths  = 500 // in one command
	maxAnswer = 64 << 20
)

// odd tells that sha256sum would write the name in a form of its own.
func odd(name string) bool { return strings.ContainsAny(name, "\\\n\r") }

// finish writes the script.
func (p *probe) finish() {
	var plain, special []string
	for _, name := range p.paths {
		if odd(name) {
			special = append(special, name)
		} else {
			plain = append(plain, name)
		}
	}
	p.paths = append(plain, special...)
	fmt.Fprintf(p.script, "echo \"$N facts\"\nfacts\n")
	if p.names {
		fmt.Fprintf(p.script, "F='%%f %%u %%g %%U %%G %%s %%d:%%i %%Y %%Z'\n")
	}
	for i := 0; i < len(plain); {
		n := i
		for size := 0; n < len(plain) && (n == i || n-i < maxPaths && size+len(plain[n]) < maxWords); n++ {
			size += len(plain[n]) + 1
		}
		fmt.Fprintf(p.script, "echo \"$N look %d\"\nlook %s\n", n-i, quoteAll(plain[i:n]))
		i = n
	}
	for _, name := range special {
		fmt.Fprintf(p.script, "echo \"$N look 1\"\nlook %s\n", quote(name))
	}
	p.finishBig()
	for i, name := range p.contents {
		fmt.Fprintf(p.script, "echo \"$N content %d\"\ncontent %s\n", i, quote(name))
	}
	if len(p.counts) > 0 {
		fmt.Fprintf(p.script, "echo \"$N counts\"\ncount %s\n", quoteAll(p.counts))
	}
	for i, name := range p.lists {
		fmt.Fprintf(p.script, "echo \"$N list %d\"\nlist %s\n", i, quote(name))
	}
}

// run reads the host.
func (p *probe) run(ctx context.Context, t transport) (*answer, error) {
	p.finish()
	out, err := runScript(ctx, t, p.script, false, maxAnswer)
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		return nil, fmt.Errorf("the host can't be read: %w", err)
	case err != nil:
		return nil, err
	}
	a, err := p.parse(out)
	if err != nil {
		return nil, fmt.Errorf("the host's answer makes no sense: %w", err)
	}
	if r, ok := t.(*remote); ok {
		a.facts.Login = r.target.User
	}
	return a, nil
}

// readContents asks for the content of some files.
func readContents(ctx context.Context, t transport, names []string) (map[string][]byte, error) {
	p := newProbe()
	for _, n := range names {
		p.content(n)
	}
	a, err := p.run(ctx, t)
	if err != nil {
		return nil, err
	}
	return a.contents, nil
}
