package ssh

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// answer is what a host said about itself.
type answer struct {
	facts    *Facts
	paths    map[string]*pathFact
	contents map[string][]byte
	lists    map[string][]string
	counts   map[string]int
	parts    map[string][]byte
}

// pathFact is what there is at a path.
type pathFact struct {
	Mode        uint32 // with the type, as the kernel has it
	UID, GID    string
	User, Group string
	Size        int64
	Inode       string
	Modified    int64
	Changed     int64
	Sum         string // of a file, "" if it can't be read
	To          string // of a link
	// Hidden tells that it can't be told whether anything is there.
	Hidden bool
}

const (
	typeMask    = 0o170000
	typeFile    = 0o100000
	typeDir     = 0o040000
	typeSymlink = 0o120000
	modeMask    = 0o7777
)

func (f *pathFact) kind() string {
	switch f.Mode & typeMask {
	case typeFile:
		return kindFile
	case typeDir:
		return kindDir
	case typeSymlink:
		return kindSymlink
	}
	return kindOther
}

// path gives what is there, nil for nothing.
func (a *answer) path(name string) *pathFact { return a.paths[name] }

// content gives a small file's content, if it is a file that can be read.
func (a *answer) content(name string) ([]byte, bool) {
	c, ok := a.contents[name]
	return c, ok
}

// list gives the names in a directory.
func (a *answer) list(dir string) []string { return a.lists[dir] }

// part gives what a kind's own piece of shell printed.
func (a *answer) part(name string) []byte { return a.parts[name] }

// parse reads the answer to a probe. It must be whole.
func (p *probe) parse(out []byte) (*answer, error) {
	a := &answer{paths: map[string]*pathFact{}, contents: map[string][]byte{}, lists: map[string][]string{}, counts: map[string]int{}, parts: map[string][]byte{}}
	mark := []byte(p.script.nonce + " ")
	if !bytes.HasSuffix(out, append([]byte("\n"+p.script.nonce), " end\n"...)) {
		return nil, errors.New("it ends too early")
	}
	sections := bytes.Split(append([]byte("\n"), out...), append([]byte("\n"), mark...))
	next := 0 // of p.paths
	for _, s := range sections[1 : len(sections)-1] {
		head, body, _ := bytes.Cut(s, []byte("\n"))
		if len(body) > 0 {
			body = append(body[:len(body):len(body)], '\n')
		}
		word, arg, _ := strings.Cut(string(head), " ")
		n, _ := strconv.Atoi(arg)
		var err error
		switch word {
		case "facts":
			a.facts = parseFacts(string(body))
		case "look":
			if n < 1 || next+n > len(p.paths) {
				return nil, errors.New("it has more paths than were asked for")
			}
			err = a.look(p.paths[next:next+n], body)
			next += n
		case "big":
			err = p.takeBig(a, n, body)
		case "content":
			if n < 0 || n >= len(p.contents) {
				return nil, errors.New("it has content that was not asked for")
			}
			err = a.takeContent(p.contents[n], body)
		case "list":
			if n < 0 || n >= len(p.lists) {
				return nil, errors.New("it has a list that was not asked for")
			}
			a.lists[p.lists[n]], err = framed(body)
		case "counts":
			err = a.takeCounts(p.counts, body)
		case "part":
			a.parts[arg] = body
		default:
			err = fmt.Errorf("it has an unknown part %q", word)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case a.facts == nil:
		return nil, errors.New("it has no facts")
	case next != len(p.paths) || len(a.lists) != len(p.listed()) || len(a.parts) != len(p.own) || len(a.counts) != len(p.counts):
		return nil, errors.New("it does not answer everything")
	}
	return a, a.verify()
}

// verify makes sure that content is what its file's sum says: it was neither
// cut short nor read at another moment.
func (a *answer) verify() error {
	for name, c := range a.contents {
		f := a.paths[name]
		if f == nil || f.Sum == "" || len(c) > maxHostFile {
			continue
		}
		if sum := sha256.Sum256(c); hex.EncodeToString(sum[:]) != f.Sum {
			return errMoved
		}
	}
	return nil
}

func (p *probe) listed() map[string]bool {
	m := map[string]bool{}
	for _, l := range p.lists {
		m[l] = true
	}
	return m
}

// cursor goes over lines and lengths.
type cursor struct{ rest []byte }

func (c *cursor) line() (string, bool) {
	l, rest, ok := bytes.Cut(c.rest, []byte("\n"))
	if !ok {
		return "", false
	}
	c.rest = rest
	return string(l), true
}

// text gives n bytes that a line break follows.
func (c *cursor) text(n int) (string, bool) {
	if n < 0 || len(c.rest) < n+1 || c.rest[n] != '\n' {
		return "", false
	}
	t := string(c.rest[:n])
	c.rest = c.rest[n+1:]
	return t, true
}

var errMoved = errors.New("something changed while it was read")

// look reads what the shell function of this name printed.
func (a *answer) look(names []string, body []byte) error {
	c := &cursor{body}
	flags, ok := c.line()
	if !ok || len(flags) != len(names) {
		return errMoved
	}
	for i, name := range names {
		switch flags[i] {
		case '0':
		case 'h':
			a.paths[name] = &pathFact{Hidden: true}
		default:
			line, _ := c.line()
			f, err := parseStat(line)
			if err != nil {
				return err
			}
			a.paths[name] = f
		}
	}
	for i, name := range names {
		f := a.paths[name]
		if (flags[i] == 'l') != (f != nil && f.kind() == kindSymlink) || (flags[i] == 'f' || flags[i] == 'u') != (f != nil && f.kind() == kindFile) {
			return errMoved
		}
		if flags[i] != 'l' {
			continue
		}
		head, _ := c.line()
		n, err := strconv.Atoi(strings.TrimPrefix(head, "l "))
		if err != nil {
			return errMoved
		}
		if f.To, ok = c.text(n); !ok {
			return errMoved
		}
	}
	for i, name := range names {
		if flags[i] != 'f' {
			continue
		}
		line, _ := c.line()
		line = strings.TrimPrefix(line, `\`)
		if len(line) < 64 {
			return errMoved
		}
		if _, err := hex.DecodeString(line[:64]); err != nil {
			return errMoved
		}
		a.paths[name].Sum = line[:64]
	}
	if len(c.rest) > 0 {
		return errMoved
	}
	return nil
}

func parseStat(line string) (*pathFact, error) {
	w := strings.Fields(line)
	if len(w) != 9 {
		return nil, errMoved
	}
	mode, err := strconv.ParseUint(w[0], 16, 32)
	if err != nil {
		return nil, errMoved
	}
	f := &pathFact{Mode: uint32(mode), UID: w[1], GID: w[2], User: w[3], Group: w[4], Inode: w[6]}
	for i, to := range map[int]*int64{5: &f.Size, 7: &f.Modified, 8: &f.Changed} {
		if *to, err = strconv.ParseInt(w[i], 10, 64); err != nil {
			return nil, errMoved
		}
	}
	return f, nil
}

func (a *answer) takeContent(name string, body []byte) error {
	text, ok := strings.CutSuffix(string(body), ".\n")
	if !ok {
		return errMoved
	}
	text, ok = strings.CutPrefix(text, "y\n")
	if !ok {
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\n", ""))
	if err != nil {
		return err
	}
	a.contents[name] = raw
	return nil
}

func (a *answer) takeCounts(dirs []string, body []byte) error {
	words := strings.Fields(string(body))
	if len(words) != len(dirs) {
		return errMoved
	}
	for i, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil {
			return errMoved
		}
		a.counts[dirs[i]] = n
	}
	return nil
}

// framed reads texts that each have their length before them.
func framed(body []byte) ([]string, error) {
	c := &cursor{body}
	out := []string{}
	for {
		head, ok := c.line()
		if !ok {
			return nil, errMoved
		}
		if head == "-" {
			return out, nil
		}
		n, err := strconv.Atoi(head)
		if err != nil {
			return nil, errMoved
		}
		t, ok := c.text(n)
		if !ok {
			return nil, errMoved
		}
		out = append(out, t)
	}
}
