package edit

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// step goes one level down: to a key of a mapping, an index of a list, or the
// entry of a list that has a key with a value.
type step struct {
	key       string
	index     int // with list
	list      bool
	where, is string // with match
	match     bool
	either    bool // of a pointer: a key or an index, as it turns out
}

func (s step) String() string {
	switch {
	case s.match:
		return fmt.Sprintf("[%s=%s]", s.where, s.is)
	case s.list:
		return fmt.Sprintf("[%d]", s.index)
	}
	return s.key
}

const maxSteps = 64

func (f Field) steps() ([]step, error) {
	var steps []step
	var err error
	if f.Pointer != "" {
		steps, err = pointerSteps(f.Pointer)
	} else {
		steps, err = pathSteps(f.Path)
	}
	if err == nil && (len(steps) == 0 || len(steps) > maxSteps) {
		err = errors.New("the place has no parts, or too many")
	}
	return steps, err
}

func pointerSteps(p string) ([]step, error) {
	if !strings.HasPrefix(p, "/") {
		return nil, fmt.Errorf("a pointer begins with a slash, %q does not", p)
	}
	var out []step
	for part := range strings.SplitSeq(p[1:], "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		s := step{key: part}
		if n, err := strconv.Atoi(part); err == nil && n >= 0 && strconv.Itoa(n) == part {
			s.either, s.index = true, n
		}
		out = append(out, s)
	}
	return out, nil
}

var (
	bareKey  = regexp.MustCompile(`^\.([A-Za-z0-9_][A-Za-z0-9_/-]*)`)
	quoteKey = regexp.MustCompile(`^(?:\["((?:[^"\\]|\\["\\])*)"\]|\['([^']*)'\])`)
	indexKey = regexp.MustCompile(`^\[(0|[1-9][0-9]{0,6})\]`)
	matchKey = regexp.MustCompile(`^\[([A-Za-z0-9_][A-Za-z0-9_.-]*)=([^\]]+)\]`)
)

func pathSteps(p string) ([]step, error) {
	rest, ok := strings.CutPrefix(p, "$")
	if !ok {
		return nil, fmt.Errorf("a path begins with $, as $.image.tag; %q does not", p)
	}
	var out []step
	for rest != "" {
		var s step
		var n int
		if m := bareKey.FindStringSubmatch(rest); m != nil {
			s, n = step{key: m[1]}, len(m[0])
		} else if m := quoteKey.FindStringSubmatch(rest); m != nil {
			s, n = step{key: strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(m[1]) + m[2]}, len(m[0])
		} else if m := indexKey.FindStringSubmatch(rest); m != nil {
			i, _ := strconv.Atoi(m[1])
			s, n = step{list: true, index: i}, len(m[0])
		} else if m := matchKey.FindStringSubmatch(rest); m != nil {
			s, n = step{match: true, where: m[1], is: m[2]}, len(m[0])
		} else {
			return nil, fmt.Errorf(`%q can't be read from %q on: write .key, ["key"], [0] or [name=value]`, p, rest)
		}
		out, rest = append(out, s), rest[n:]
	}
	return out, nil
}

const maxRegexp = 1000

func expression(text string) (*regexp.Regexp, error) {
	if len(text) > maxRegexp {
		return nil, fmt.Errorf("the regular expression has more than %d characters", maxRegexp)
	}
	re, err := regexp.Compile("(?m)" + text)
	if err != nil {
		return nil, fmt.Errorf("the regular expression can't be read: %w", err)
	}
	if re.NumSubexp() != 1 {
		return nil, fmt.Errorf("the regular expression has %d groups; one, around the value, is needed: %s", re.NumSubexp(), `tag: (\S+)`)
	}
	return re, nil
}

func findRegexp(body []byte, f Field) (span, error) {
	re, err := expression(f.Regexp)
	if err != nil {
		return span{}, fmt.Errorf("%s: %w", f, err)
	}
	all := re.FindAllSubmatchIndex(body, 2)
	switch {
	case len(all) == 0:
		return span{}, fmt.Errorf("%s: %w", f, ErrMissing)
	case len(all) > 1:
		return span{}, fmt.Errorf("%s: %w: the expression matches more than once", f, ErrForm)
	case all[0][2] < 0:
		return span{}, fmt.Errorf("%s: %w: the group took no part in the match", f, ErrForm)
	}
	from, to := all[0][2], all[0][3]
	v := Value{Text: string(body[from:to]), Kind: String}
	return span{Value: v, from: from, to: to}, harmless(v.Text)
}
