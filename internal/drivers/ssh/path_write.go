package ssh

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// maxInline is up to what size a file's content is part of the script.
const maxInline = 128 << 10

func splitPath(name string) (dir, base string) {
	dir, base = path.Split(name)
	if dir != "/" {
		dir = strings.TrimSuffix(dir, "/")
	}
	return dir, base
}

// hiddenError says that a directory keeps us from seeing what is in it.
func hiddenError(a plan.Address) error {
	return fmt.Errorf("it can't be told whether there is a %s: a directory on the way can't be entered; use sudo, or another user", a)
}

// write makes, changes and removes paths, directory by directory.
func (pathKind) write(w *writer, steps []step) {
	steps = growTrees(w, steps)
	for i := 0; i < len(steps); {
		dir, _ := splitPath(string(steps[i].Change.Address))
		class := writeClass(steps[i])
		n := i + 1
		for n < len(steps) {
			d, _ := splitPath(string(steps[n].Change.Address))
			if d != dir || writeClass(steps[n]) != class {
				break
			}
			n++
		}
		(&pathWriter{w: w, dir: dir}).write(class, steps[i:n])
		i = n
	}
}

// The ways of writing that can share a visit to a directory.
const (
	writeNew    = "new"    // prepared aside, then moved to its place
	writeTouch  = "touch"  // mode and owner of what is there
	writeRemove = "remove" // taken away
)

func writeClass(st step) string {
	switch {
	case st.New == nil:
		return writeRemove
	case touches(st):
		return writeTouch
	}
	return writeNew
}

// touches tells that only mode and owner have to change.
func touches(st step) bool {
	if st.Old == nil || st.Old.Kind != st.New.Kind {
		return false
	}
	s, ok := st.New.Value.State.(*pathState)
	return ok && (s.Type == kindDir || s.sameContent(st.Old.Value))
}

// pathWriter writes in one directory.
type pathWriter struct {
	w    *writer
	dir  string
	body bytes.Buffer
}

func (p *pathWriter) write(class string, steps []step) {
	p.w.touched = append(p.w.touched, p.dir)
	switch class {
	case writeRemove:
		fmt.Fprintf(p.w, "if [ -d %s ]; then\n", quote(p.dir))
		p.remove(steps)
		p.w.in(p.dir, steps, p.body.String())
		fmt.Fprintf(p.w, "else ok %s\nfi\n", strings.Trim(p.w.list(steps), "'"))
		return
	case writeTouch:
		p.touch(steps)
	case writeNew:
		p.create(steps)
	}
	p.w.in(p.dir, steps, p.body.String())
}

func stateOf(it *item) *pathState {
	if it == nil {
		return nil
	}
	s, _ := it.Value.State.(*pathState)
	return s
}

// check gives commands that make sure that a path still is what was planned
// for; at is how the path is called from where the commands run.
func check(at string, old *pathState) string {
	switch {
	case old == nil:
		return "free " + quote(at)
	case old.fact == nil:
		return "false"
	case old.Type == kindSymlink:
		return "leads " + quote(old.fact.To) + " " + quote(at)
	}
	what := fmt.Sprintf("%x %s %s", old.fact.Mode, old.fact.UID, old.fact.GID)
	switch {
	case old.Type != kindFile || old.fact.Sum == "":
		return "like " + quote(what) + " " + quote(at)
	case odd(at):
		return "same1 " + quote(what) + " " + quote(old.fact.Sum) + " " + quote(at)
	}
	return "same " + quote(what+"\n"+old.fact.Sum+"  "+at) + " " + quote(at)
}

// owner gives the command that gives paths to their owner, "" for none. What
// nobody decides stays as it was.
func owner(s, old *pathState, h string, paths ...string) string {
	user, group := s.Owner, s.Group
	if old != nil && old.fact != nil {
		user, group = orElse(user, old.fact.UID), orElse(group, old.fact.GID)
	}
	if user == "" && group == "" {
		return ""
	}
	who := user
	if group != "" {
		who += ":" + group
	}
	return "chown " + h + quote(who) + " " + quoteAll(paths)
}

// create prepares new files, links and directories aside and moves them to
// their places. Those that are alike are prepared together.
func (p *pathWriter) create(steps []step) {
	fmt.Fprintf(&p.body, "stage || { no %s; exit; }\n", strings.Trim(p.w.list(steps), "'"))
	for i := 0; i < len(steps); {
		n := i + 1
		for n < len(steps) && alike(steps[i], steps[n]) {
			n++
		}
		p.unit(steps[i:n])
		i = n
	}
}

// alike tells that two steps need the same mode, owner and treatment.
func alike(a, b step) bool {
	x, y := stateOf(a.New), stateOf(b.New)
	if x.Type != y.Type || x.Type == kindSymlink || x.Mode != y.Mode || x.Owner != y.Owner || x.Group != y.Group {
		return false
	}
	if a.Old == nil && b.Old == nil {
		return true
	}
	return a.Old != nil && b.Old != nil && a.Old.Kind == a.New.Kind && b.Old.Kind == b.New.Kind &&
		stateOf(a.Old).fact.UID == stateOf(b.Old).fact.UID && stateOf(a.Old).fact.GID == stateOf(b.Old).fact.GID
}

func (p *pathWriter) unit(steps []step) {
	var prep []string
	var names []string
	for _, st := range steps {
		_, base := splitPath(string(st.Change.Address))
		names = append(names, "./"+base)
	}
	s, old := stateOf(steps[0].New), stateOf(steps[0].Old)
	if old != nil && old.Type != s.Type {
		old = nil // its owner is not taken over
	}
	switch s.Type {
	case kindSymlink:
		prep = append(prep, "ln -s -- "+quote(s.To)+" "+quote(names[0]), owner(s, old, "-h ", names...))
	case kindDir:
		// Five digits: with four, chmod keeps a directory's setgid bit.
		prep = append(prep, "mkdir -- "+quoteAll(names), owner(s, old, "", names...), "chmod 0"+s.Mode+" "+quoteAll(names))
	default:
		mask, chmod := madeWith(s.Mode, names)
		prep = append(prep, mask)
		for i, st := range steps {
			body, err := content(stateOf(st.New))
			if err != nil {
				prep = append(prep, "{ echo "+quote(err.Error())+"; false; }")
				break
			}
			prep = append(prep, inline(body)+" >"+quote(names[i]))
		}
		prep = append(prep, owner(s, old, "", names...), chmod, "sy "+quoteAll(names))
		for i, st := range steps {
			prep = append(prep, sudoers(string(st.Change.Address), names[i]))
		}
	}
	for _, st := range steps {
		_, base := splitPath(string(st.Change.Address))
		prep = append(prep, check("../"+base, stateOf(st.Old)))
		switch was := stateOf(st.Old); {
		case was == nil || was.Type == s.Type:
		case was.Type == kindDir:
			prep = append(prep, "rmdir -- "+quote("../"+base))
		case s.Type == kindDir:
			prep = append(prep, "rm -f -- "+quote("../"+base))
		}
	}
	fmt.Fprintf(&p.body, "unit %s %s %s\n", p.w.list(steps), quote(all(prep)), quoteAll(names))
}

// sudoers gives the command that makes sure that sudo can read a file of its
// own before it comes to its place, "" for other files.
func sudoers(place, at string) string {
	if dir, _ := splitPath(place); place != "/etc/sudoers" && path.Clean(dir) != "/etc/sudoers.d" {
		return ""
	}
	return "sudoers " + quote(at)
}

// madeWith gives the umask with which files are made in a mode, and the chmod
// that is needed where a umask is not enough: a file is never made executable.
func madeWith(mode string, names []string) (umask, chmod string) {
	m, err := strconv.ParseUint(mode, 8, 32)
	if err != nil || m&^0o666 != 0 {
		return "", "chmod " + mode + " " + quoteAll(names)
	}
	return fmt.Sprintf("umask %04o", 0o666&^m), ""
}

// all joins commands; empty ones are left out.
func all(commands []string) string {
	var out []string
	for _, c := range commands {
		if c != "" {
			out = append(out, c)
		}
	}
	return strings.Join(out, " &&\n")
}

// content gives what a file should hold. What is read must be what was planned.
func content(s *pathState) ([]byte, error) {
	b, err := s.src.bytes()
	if err != nil {
		return nil, err
	}
	if h := sha256.Sum256(b); hex.EncodeToString(h[:]) != s.SHA256 {
		return nil, fmt.Errorf("%s reads differently than it was planned", s.src.file)
	}
	return b, nil
}

// touch changes mode and owner of what is there. A directory is entered, a
// file is taken by a second name of our own, so that nobody can put something
// else in its place meanwhile.
func (p *pathWriter) touch(steps []step) {
	staged := false
	for _, st := range steps {
		_, base := splitPath(string(st.Change.Address))
		s, old := stateOf(st.New), stateOf(st.Old)
		var cmds []string
		if s.Type == kindDir {
			at := "./" + base
			if staged {
				at = "../" + base
			}
			cmds = []string{"cd -P -- " + quote(at), check(".", old), "same_inode " + quote(old.fact.Inode), owner(s, old, "", "."), "chmod 0" + s.Mode + " .", "sy ."}
		} else {
			if !staged {
				fmt.Fprintf(&p.body, "stage || { no %s; exit; }\n", strings.Trim(p.w.list(steps), "'"))
				staged = true
			}
			name := "./" + base
			cmds = []string{"ln -- " + quote("../"+base) + " " + quote(name), check(name, old), owner(s, old, "", name), "chmod " + s.Mode + " " + quote(name),
				"sy " + quote(name), "rm -f -- " + quote(name)}
		}
		fmt.Fprintf(&p.body, "try %s %s\n", p.w.list([]step{st}), quote(all(cmds)))
	}
}

// remove takes files, links and empty directories away.
func (p *pathWriter) remove(steps []step) {
	var files, names, checks []string
	var ids []step
	for _, st := range steps {
		_, base := splitPath(string(st.Change.Address))
		at := "./" + base
		old := stateOf(st.Old)
		if old.Type == kindDir {
			fmt.Fprintf(&p.body, "try %s %s\n", p.w.list([]step{st}), quote(all([]string{check(at, old), "rmdir -- " + quote(at)})))
			continue
		}
		files, names, ids = append(files, at), append(names, quote(at)), append(ids, st)
		checks = append(checks, check(at, old))
	}
	if len(files) > 0 {
		fmt.Fprintf(&p.body, "drop %s %s %s\n", p.w.list(ids), quote(all(checks)), strings.Join(names, " "))
	}
}
