package ssh

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Large files are not read anew at every look. A file that has the inode, the
// size and the times (to the nanosecond) that it had when its sum was taken
// has that sum still: the time of change can't be set by hand. Sums that were
// taken right after a change are not trusted, because another change could have
// the same time.

const bigFile = 8 << 20

// stampFormat is what stands for a file's content beside its sum.
const stampFormat = "%d:%i %s %y %z"

// bigScript defines big PATH STAMP: what look says about one file, but without
// reading it where the stamp is the one that is known.
const bigScript = `big() {
n=$(date +%s)
s=$(stat -c '` + stampFormat + `' -- "$1" 2>/dev/null)
if [ "$2" ] && [ "$s" = "$2" ] && [ -f "$1" ] && [ ! -h "$1" ] && [ -r "$1" ]; then
echo "k"
echo f
stat -c "${F:-%f %u %g %U %G %s %d:%i %Y %Z}" -- "$1"
echo "$3  known"
else
echo "s $n $(stat -c %Z -- "$1" 2>/dev/null) $s"
look "$1"
fi
}
`

// sums remembers what was read of large files, in this process.
type sums struct {
	mu sync.Mutex
	m  map[string]known
}

// known is a file as it was seen last: its stamp and its sum, and the sums of
// its blocks where it was brought from here.
type known struct{ stamp, sum, blocks string }

const maxKnown = 10_000

var seenFiles = &sums{m: map[string]known{}}

func (s *sums) get(key string) known {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[key]
}

func (s *sums) put(key string, k known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.m) >= maxKnown {
		clear(s.m)
	}
	s.m[key] = k
}

// recall takes what the inventory remembers, unless this process knows better.
func (s *sums) recall(key string, k known) {
	if s.get(key) == (known{}) {
		s.put(key, k)
	}
}

// big asks for a large file.
func (p *probe) big(name string) {
	if p.asked[name] || odd(name) {
		p.path(name)
		return
	}
	p.asked[name] = true
	p.bigs = append(p.bigs, name)
}

func (p *probe) finishBig() {
	if len(p.bigs) == 0 {
		return
	}
	p.script.WriteString(bigScript)
	for i, name := range p.bigs {
		k := seenFiles.get(p.host + " " + name)
		fmt.Fprintf(p.script, "echo \"$N big %d\"\nbig %s %s %s\n", i, quote(name), quote(k.stamp), quote(k.sum))
	}
}

// takeBig reads the answer about a large file.
func (p *probe) takeBig(a *answer, i int, body []byte) error {
	if i < 0 || i >= len(p.bigs) {
		return errMoved
	}
	name := p.bigs[i]
	head, rest, _ := strings.Cut(string(body), "\n")
	if err := a.look(p.bigs[i:i+1], []byte(rest)); err != nil {
		return err
	}
	f := strings.SplitN(head, " ", 4)
	fact := a.paths[name]
	if f[0] != "s" || len(f) != 4 || fact == nil || fact.Sum == "" {
		return nil
	}
	now, err1 := strconv.ParseInt(f[1], 10, 64)
	changed, err2 := strconv.ParseInt(f[2], 10, 64)
	if err1 == nil && err2 == nil && changed < now-2 {
		seenFiles.put(p.host+" "+name, known{stamp: f[3], sum: fact.Sum})
	}
	return nil
}

// key names a file of a host in what is remembered.
func (h *host) key(st step) string { return h.sumsKey() + " " + string(st.Change.Address) }

func (h *host) sumsKey() string { return h.Name + " " + h.Address }

// checkBig is check for a file that may be large: the stamp stands for its content.
func (h *host) checkBig(at string, st step) string {
	old := stateOf(st.Old)
	if old != nil && old.fact != nil && old.Type == kindFile && old.fact.Sum != "" {
		if k := seenFiles.get(h.key(st)); k.sum == old.fact.Sum {
			return `{ [ "$(stat -c '` + stampFormat + `' -- ` + quote(at) + `)" = ` + quote(k.stamp) + ` ] || changed ` + quote(at) + `; }`
		}
	}
	return check(at, old)
}

// stampAfter tells the stamp of a large file that was just brought, and checked
// where nobody else could reach it.
func stampAfter(at string, s *pathState) string {
	if s.Size < bigFile {
		return ""
	}
	return `echo "$N stamp $(stat -c '` + stampFormat + `' -- ` + quote(at) + `)"` + "\n"
}

// stamped remembers it.
func (h *host) stamped(out []byte, nonce string, st step, s *pathState, blocks string) {
	for line := range strings.Lines(string(out)) {
		if stamp, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), nonce+" stamp "); ok && stamp != "" {
			seenFiles.put(h.key(st), known{stamp, s.SHA256, blocks})
		}
	}
}

// withStamp gives what is remembered of a large file, with its stamp where it is known.
func (s *set) withStamp(it item, p *pathState) *pathState {
	h := s.hosts[it.Scope]
	if h == nil || h.t == nil {
		return p
	}
	with := *p
	if k := seenFiles.get(h.sumsKey() + " " + string(it.Address)); k.sum == p.SHA256 {
		with.Stamp, with.Blocks = k.stamp, k.blocks
	}
	return &with
}
