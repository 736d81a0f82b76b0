package ssh

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	xssh "golang.org/x/crypto/ssh"

	"trueup.dev/trueup/internal/plan"
)

// keysKind is authorized keys: all of a user's (keys), or one beside others
// (key).
type keysKind struct{}

const (
	kindKeys = "keys"
	kindKey  = "key"
)

func (keysKind) info() kindInfo {
	return kindInfo{names: []string{kindKeys, kindKey}, sections: []string{"authorizedKeys"}, class: "key", rank: rankKeys,
		blank: func(string) state { return &keysState{} }}
}

// keysState is a set of keys, each as options, type and key, without comment.
type keysState struct {
	Keys []string `json:"keys"`
	// Broken says why the file can't be changed.
	Broken string `json:"broken,omitempty"`
	lines  []string
	file   *keysFile
}

func (s *keysState) ident() string { return identOf([]any{s.Keys, s.Broken}) }

func (s *keysState) show() (any, []string) { return s, nil }

type keysSpec struct {
	// Keys are lines as in authorized_keys.
	Keys []string `yaml:"keys" strict:"one"`
	// Source is a file beside the document with such lines.
	Source string `yaml:"source"`
	// Exclusive removes all other keys; true by default.
	Exclusive *bool    `yaml:"exclusive"`
	TakeOver  bool     `yaml:"takeOver"`
	Notify    []string `yaml:"notify" strict:"one"`
}

func (keysKind) parse(p *parser, e entry) []*object {
	var s keysSpec
	p.Decode(e.value, &s, e.field)
	if !p.accountName(e, "user") {
		return nil
	}
	if s.Source != "" {
		full, ok := p.source(e, "source", s.Source)
		if !ok {
			return nil
		}
		text, err := p.bytes(full, maxHostFile)
		if err != nil {
			p.Errorf(e.value, e.field+".source", "", "%v", err)
			return nil
		}
		for l := range strings.Lines(string(text)) {
			if l = strings.TrimSpace(l); l != "" && l[0] != '#' {
				s.Keys = append(s.Keys, l)
			}
		}
	}
	byKey := map[string]string{}
	for i, line := range s.Keys {
		key, err := canonicalKey(line)
		if err != nil {
			p.Errorf(e.value, fmt.Sprintf("%s.keys[%d]", e.field, i), "write a line as in authorized_keys", "%v", err)
			continue
		}
		byKey[key] = strings.TrimSpace(line)
	}
	if s.Exclusive == nil || *s.Exclusive {
		if len(s.Keys) == 0 {
			p.Errorf(e.value, e.field+".keys", "give a key; to keep everybody out, disable the user", "no key is given, and all others would be removed")
			return nil
		}
		st := &keysState{Keys: sortedKeys(byKey)}
		for _, k := range st.Keys {
			st.lines = append(st.lines, byKey[k])
		}
		return []*object{{Kind: kindKeys, Address: plan.Address("keys:" + e.name), State: st, TakeOver: s.TakeOver, Notify: s.Notify}}
	}
	var out []*object
	for _, k := range sortedKeys(byKey) {
		out = append(out, &object{Kind: kindKey, Address: keyAddress(e.name, k), TakeOver: s.TakeOver, Notify: s.Notify,
			State: &keysState{Keys: []string{k}, lines: []string{byKey[k]}}})
	}
	return out
}

// canonicalKey gives a line without its comment.
func canonicalKey(line string) (string, error) {
	if strings.ContainsAny(line, "\n\r\x00") {
		return "", fmt.Errorf("a key is one line")
	}
	key, _, options, rest, err := xssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(rest) > 0 {
		return "", fmt.Errorf("%.40q is no public key", line)
	}
	out := key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal())
	if len(options) > 0 {
		slices.Sort(options)
		out = strings.Join(options, ",") + " " + out
	}
	return out, nil
}

// keyAddress names one key of a user, by its fingerprint.
func keyAddress(user, canonical string) plan.Address {
	key, _, _, _, err := xssh.ParseAuthorizedKey([]byte(canonical))
	if err != nil {
		return ""
	}
	return plan.Address("key:" + user + "/" + xssh.FingerprintSHA256(key))
}

// userOf gives whose keys an address is about.
func userOf(a plan.Address) string {
	user, _, _ := strings.Cut(nameOf(a), "/")
	return user
}

// look asks for the files, which lie in the users' homes.
func (keysKind) look(p *probe, subs []subject) {
	for _, s := range subs {
		user := userOf(s.address)
		p.part("keys."+user, fmt.Sprintf(`if home_of %s >/dev/null; then
echo "${#H}"
printf '%%s\n' "$H"
content "$H/.ssh/authorized_keys"
look "$H/.ssh/authorized_keys"
else echo none; fi`, quote(user)))
	}
}

// keysFile is a user's authorized_keys as it is.
type keysFile struct {
	home, path string
	fact       *pathFact
	lines      []string
	broken     string
}

// keysOf reads the answer. It is nil where there is no such user.
func keysOf(a *answer, user string) (*keysFile, error) {
	c := &cursor{a.part("keys." + user)}
	head, _ := c.line()
	if head == "none" || head == "" {
		return nil, nil
	}
	var n int
	if _, err := fmt.Sscan(head, &n); err != nil {
		return nil, errMoved
	}
	home, ok := c.text(n)
	if !ok {
		return nil, errMoved
	}
	f := &keysFile{home: home, path: home + "/.ssh/authorized_keys"}
	body, rest, ok := strings.Cut(string(c.rest), ".\n")
	if !ok {
		return nil, errMoved
	}
	sub := &answer{paths: map[string]*pathFact{}, contents: map[string][]byte{}}
	if err := sub.takeContent(f.path, []byte(body+".\n")); err != nil {
		return nil, err
	}
	if err := sub.look([]string{f.path}, []byte(rest)); err != nil {
		return nil, err
	}
	if err := sub.verify(); err != nil {
		return nil, err
	}
	f.fact = sub.path(f.path)
	text, reason := hostText(sub, f.path)
	f.broken = reason
	for l := range strings.Lines(string(text)) {
		f.lines = append(f.lines, strings.TrimRight(l, "\r\n"))
	}
	return f, nil
}

func (keysKind) observe(a *answer, subs []subject) ([]*object, error) {
	var out []*object
	for _, s := range subs {
		f, err := keysOf(a, userOf(s.address))
		if err != nil {
			return nil, err
		}
		if f == nil || f.fact == nil {
			continue
		}
		st := &keysState{Keys: []string{}, Broken: f.broken, file: f}
		for _, l := range f.lines {
			if k, err := canonicalKey(l); err == nil && (s.kind == kindKeys || keyAddress(userOf(s.address), k) == s.address) {
				st.Keys = append(st.Keys, k)
			}
		}
		if s.kind == kindKey && len(st.Keys) == 0 && f.broken == "" {
			continue
		}
		slices.Sort(st.Keys)
		st.Keys = slices.Compact(st.Keys)
		out = append(out, &object{Kind: s.kind, Address: s.address, State: st})
	}
	return out, nil
}

// note holds what can't be changed.
func (keysKind) note(c *plan.Change, _, have *object) {
	if have == nil {
		return
	}
	if s, ok := have.State.(*keysState); ok && s.Broken != "" {
		c.Conflict = "authorized_keys: " + s.Broken
	}
}

// write changes the files, each once.
func (keysKind) write(w *writer, steps []step) {
	byUser := map[string][]step{}
	for _, st := range steps {
		u := userOf(st.Change.Address)
		byUser[u] = append(byUser[u], st)
	}
	for _, u := range sortedKeys(byUser) {
		writeKeys(w, u, byUser[u])
	}
}

func writeKeys(w *writer, user string, steps []step) {
	f, err := keysOf(w.host.answer, user)
	switch {
	case err != nil:
		w.refuse(steps, err.Error())
		return
	case f != nil && f.broken != "":
		w.refuse(steps, f.path+": "+f.broken)
		return
	case f == nil:
		f = &keysFile{} // the user is made by the same script
	}
	lines := slices.Clone(f.lines)
	for _, st := range steps {
		lines = withKeys(lines, st)
	}
	if w.locksOut(user, f.lines, lines) {
		w.refuse(steps, "the key that trueup logs in with to "+user+" would be taken away, and the host could not be reached again: list it among the keys, or log in with another one first")
		return
	}
	text := strings.Join(lines, "\n")
	if text != "" {
		text += "\n"
	}
	var old *pathState
	mode := "0600"
	if f.fact != nil {
		old = observed(f.fact, nil)
		mode = old.Mode
	}
	ids := strings.Trim(w.list(steps), "'")
	prep := []string{inline([]byte(text)) + " >./authorized_keys", "chmod " + mode + " ./authorized_keys",
		"{ [ \"$W\" != 0 ] || chown " + quote(user) + " ./authorized_keys; }", "sy ./authorized_keys",
		check("../authorized_keys", old), "mv -f -- ./authorized_keys ../", "sy .."}
	body := fmt.Sprintf("stage || { no %s; exit; }\ntry %s %s\n", ids, w.list(steps), quote(all(prep)))
	dir := fmt.Sprintf("[ -d .ssh ] || { mkdir -m 700 .ssh && { [ \"$W\" != 0 ] || chown %s .ssh; }; } || { no %s; exit; }\n", quote(user), ids)
	fmt.Fprintf(w, "if home_of %s; then\n[ -d \"$H/.ssh\" ] || group \"$H\" %s %s\n", quote(user), w.list(steps), quote(dir))
	fmt.Fprintf(w, "[ ! -d \"$H/.ssh\" ] || group \"$H/.ssh\" %s %s\nelse no %s; fi\n", w.list(steps), quote(body), ids)
}

// locksOut tells that the lines that become of a user's keys hold none of the
// keys that we log in with as this very user, where there was one before.
func (w *writer) locksOut(user string, before, after []string) bool {
	r, ok := w.host.t.(*remote)
	if !ok || user != r.target.User {
		return false
	}
	ours := func(line string) bool {
		key, _, _, _, err := xssh.ParseAuthorizedKey([]byte(line))
		return err == nil && slices.ContainsFunc(r.keys, func(k xssh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) })
	}
	return slices.ContainsFunc(before, ours) && !slices.ContainsFunc(after, ours)
}

// refuse tells steps off with a reason.
func (w *writer) refuse(steps []step, reason string) {
	fmt.Fprintf(w, "echo %s\nno %s\n", quote(reason), strings.Trim(w.list(steps), "'"))
}

// withKeys gives the lines of a file with one step carried out.
func withKeys(lines []string, st step) []string {
	var want *keysState
	if st.New != nil {
		want = st.New.Value.State.(*keysState)
	}
	all := st.Change.Kind == kindKeys
	have := map[string]bool{}
	var out []string
	for _, l := range lines {
		k, err := canonicalKey(l)
		switch {
		case err != nil && all && st.New != nil && strings.TrimSpace(l) != "" && !strings.HasPrefix(strings.TrimSpace(l), "#"):
			continue // what is no key is not left in a file that is ours
		case err != nil:
		case want != nil && slices.Contains(want.Keys, k):
			if have[k] {
				continue
			}
			have[k] = true
		case all:
			continue
		case keyAddress(userOf(st.Change.Address), k) == st.Change.Address:
			continue
		}
		out = append(out, l)
	}
	if want != nil {
		for i, k := range want.Keys {
			if !have[k] {
				out = append(out, want.lines[i])
			}
		}
	}
	return out
}
