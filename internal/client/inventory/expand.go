package inventory

import (
	"fmt"
	"strconv"
	"strings"
)

// expand gives the names that a pattern with ranges stands for:
// web[01:50].example.com, db-[a:f], node[0:100:10].
func expand(pattern string) ([]string, error) {
	open := strings.IndexByte(pattern, '[')
	if open < 0 {
		if strings.IndexByte(pattern, ']') >= 0 {
			return nil, fmt.Errorf("%q has a ] without a [", pattern)
		}
		return []string{pattern}, nil
	}
	end := strings.IndexByte(pattern[open:], ']')
	if end < 0 {
		return nil, fmt.Errorf("%q has a [ without a ]", pattern)
	}
	middle, err := span(pattern[open+1 : open+end])
	if err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	tails, err := expand(pattern[open+end+1:])
	if err != nil {
		return nil, err
	}
	if len(middle)*len(tails) > maxHosts {
		return nil, fmt.Errorf("%q stands for more than %d hosts", pattern, maxHosts)
	}
	out := make([]string, 0, len(middle)*len(tails))
	for _, m := range middle {
		for _, t := range tails {
			out = append(out, pattern[:open]+m+t)
		}
	}
	return out, nil
}

// span gives what stands between brackets.
func span(s string) ([]string, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return nil, fmt.Errorf("[%s] is no range: write [first:last] or [first:last:step]", s)
	}
	step := 1
	if len(parts) == 3 {
		var err error
		if step, err = strconv.Atoi(parts[2]); err != nil || step < 1 {
			return nil, fmt.Errorf("[%s]: the step %q is no positive number", s, parts[2])
		}
	}
	first, last := parts[0], parts[1]
	if len(first) == 1 && len(last) == 1 && letter(first[0]) && letter(last[0]) {
		if first[0] > last[0] {
			return nil, fmt.Errorf("[%s] runs backwards", s)
		}
		var out []string
		for c := int(first[0]); c <= int(last[0]); c += step {
			out = append(out, string(rune(c)))
		}
		return out, nil
	}
	if first == "" {
		first = "0"
	}
	from, err1 := strconv.ParseUint(first, 10, 31)
	to, err2 := strconv.ParseUint(last, 10, 31)
	switch {
	case err1 != nil || err2 != nil:
		return nil, fmt.Errorf("[%s] is no range of numbers or letters", s)
	case from > to:
		return nil, fmt.Errorf("[%s] runs backwards", s)
	case first[0] == '0' && len(first) > 1 && len(first) != len(last):
		return nil, fmt.Errorf("[%s]: both ends need the same number of digits when they begin with 0", s)
	case (to-from)/uint64(step) >= maxHosts:
		return nil, fmt.Errorf("[%s] stands for more than %d names", s, maxHosts)
	}
	width := 0
	if first[0] == '0' && len(first) > 1 {
		width = len(first)
	}
	var out []string
	for n := from; n <= to; n += uint64(step) {
		out = append(out, fmt.Sprintf("%0*d", width, n))
	}
	return out, nil
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// number reads a variable that should be a whole number.
func number(v any) (int, bool) {
	switch x := v.(type) {
	case int:
		return x, true
	case int64:
		return int(x), true
	case uint64:
		return int(x), x < 1<<31
	case float64:
		return int(x), x == float64(int(x))
	case string:
		n, err := strconv.Atoi(strings.TrimSpace(x))
		return n, err == nil
	}
	return 0, false
}
