package ssh

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// growTrees writes directories that are not there yet together with all that
// is to be in them: they are prepared aside as a whole and moved to their
// place in one go. It gives the steps that are left.
func growTrees(w *writer, steps []step) []step {
	fresh := map[string]bool{} // directories that are made
	for _, st := range steps {
		if st.New != nil && st.Old == nil && st.New.Kind == kindDir {
			fresh[string(st.Change.Address)] = true
		}
	}
	if len(fresh) == 0 {
		return steps
	}
	trees := map[string][]step{}
	var rest []step
	for _, st := range steps {
		top := topOf(fresh, string(st.Change.Address))
		if st.New == nil || st.Old != nil || top == "" {
			rest = append(rest, st)
			continue
		}
		trees[top] = append(trees[top], st)
	}
	for _, top := range sortedKeys(trees) {
		grow(w, top, trees[top])
	}
	return rest
}

// topOf gives the topmost new directory that a path is, or lies in.
func topOf(fresh map[string]bool, name string) string {
	top := ""
	for at := name; at != "/" && at != "."; at = path.Dir(at) {
		if fresh[at] {
			top = at
		} else if top != "" || at != name {
			break
		}
	}
	return top
}

// grow writes one new directory with what is in it.
func grow(w *writer, top string, steps []step) {
	dir, base := splitPath(top)
	at := func(a plan.Address) string { return "./" + base + strings.TrimPrefix(string(a), top) }
	slices.SortStableFunc(steps, func(a, b step) int { return strings.Compare(string(a.Change.Address), string(b.Change.Address)) })
	g := &growth{modes: map[string][]string{}, owners: map[string][]string{}}
	for _, st := range steps {
		g.add(stateOf(st.New), at(st.Change.Address))
	}
	prep := all(append([]string{"free " + quote("../"+base)}, g.commands()...))
	w.touched = append(w.touched, dir)
	ids := w.list(steps)
	var body bytes.Buffer
	fmt.Fprintf(&body, "stage || { no %s; exit; }\ngrow %s %s %s\n", strings.Trim(ids, "'"), ids, quote(prep), quote("./"+base))
	w.in(dir, steps, body.String())
}

// growth collects what a new directory holds.
type growth struct {
	dirs, links, files []string // commands; directories by name
	synced             []string
	modes, owners      map[string][]string
	mask               string
	closing            []made // directories with their modes
}

type made struct{ name, mode string }

func (g *growth) add(s *pathState, name string) {
	switch s.Type {
	case kindSymlink:
		g.links = append(g.links, "ln -s -- "+quote(s.To)+" "+quote(name))
		return
	case kindDir:
		g.dirs = append(g.dirs, name)
		g.closing = append(g.closing, made{name, "0" + s.Mode})
	default:
		body, err := content(s)
		if err != nil {
			g.files = append(g.files, "{ echo "+quote(err.Error())+"; false; }")
			return
		}
		umask, chmod := madeWith(s.Mode, []string{name})
		if umask != g.mask && umask != "" {
			g.mask = umask
			g.files = append(g.files, umask)
		}
		if chmod != "" {
			g.modes[s.Mode] = append(g.modes[s.Mode], name)
		}
		g.files = append(g.files, inline(body)+" >"+quote(name))
		g.synced = append(g.synced, name)
	}
	if who := s.Owner; who != "" || s.Group != "" {
		if s.Group != "" {
			who += ":" + s.Group
		}
		g.owners[who] = append(g.owners[who], name)
	}
}

// commands gives the whole, in as few programs as can be.
func (g *growth) commands() []string {
	var out []string
	chunked := func(prefix string, names []string) {
		for part := range slices.Chunk(names, maxPaths) {
			out = append(out, prefix+quoteAll(part))
		}
	}
	chunked("mkdir -- ", g.dirs)
	out = append(append(out, g.files...), g.links...)
	chunked("sy ", append(g.synced, g.dirs...))
	for _, who := range sortedKeys(g.owners) {
		chunked("chown "+quote(who)+" ", g.owners[who])
	}
	for _, mode := range sortedKeys(g.modes) {
		chunked("chmod "+mode+" ", g.modes[mode])
	}
	// Directories last, and from the inside out: one may end up closed to us.
	slices.Reverse(g.closing)
	for i := 0; i < len(g.closing); {
		var names []string
		mode := g.closing[i].mode
		for ; i < len(g.closing) && g.closing[i].mode == mode; i++ {
			names = append(names, g.closing[i].name)
		}
		chunked("chmod "+mode+" ", names)
	}
	return out
}
