package render

import (
	"strings"
)

// lines finds the lines of a template that lines of its output come from. Two
// lines that are equal but for space are one; an object is where its kind
// stands.
type lines struct {
	rendered, source []string
	same             map[string][]int // lines of the source by their text
	kinds            map[string]int   // how many objects of a kind were placed
}

func newLines(rendered, source string) *lines {
	l := &lines{rendered: strings.Split(rendered, "\n"), source: strings.Split(source, "\n"), same: map[string][]int{}, kinds: map[string]int{}}
	for i, s := range l.source {
		if s = strings.TrimSpace(s); s != "" {
			l.same[s] = append(l.same[s], i+1)
		}
	}
	return l
}

// exact tells whether a line of the output stands in the template as it is,
// and once.
func (l *lines) exact(n int) bool {
	return n >= 1 && n <= len(l.rendered) && len(l.same[strings.TrimSpace(l.rendered[n-1])]) == 1
}

// of gives the line of the template that a line of the output most likely
// comes from, or 0: one like it, or that begins with the same field.
func (l *lines) of(n int) int {
	if n < 1 || n > len(l.rendered) {
		return 0
	}
	text := strings.TrimSpace(l.rendered[n-1])
	if at := l.same[text]; len(at) > 0 {
		return at[0]
	}
	field, _, ok := strings.Cut(text, ":")
	if !ok || field == "" {
		return 0
	}
	for i, s := range l.source {
		if strings.HasPrefix(strings.TrimSpace(s), field+":") {
			return i + 1
		}
	}
	return 0
}

// ofObject gives the line where an object begins: the nth object of a kind is
// at the nth place that says so, or the last where a loop makes more of them.
func (l *lines) ofObject(rendered int, kind string) int {
	nth := l.kinds[kind]
	l.kinds[kind]++
	at := 0
	for i, s := range l.source {
		if strings.TrimSpace(s) != "kind: "+kind {
			continue
		}
		at = i + 1
		for j := max(0, i-3); j <= min(len(l.source)-1, i+3); j++ {
			if strings.HasPrefix(strings.TrimSpace(l.source[j]), "apiVersion:") {
				at = min(at, j+1)
			}
		}
		if nth == 0 {
			break
		}
		nth--
	}
	if at == 0 {
		at = max(1, l.of(rendered))
	}
	return at
}
