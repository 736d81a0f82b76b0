package dns

import (
	"fmt"
	"strconv"
	"strings"
)

// generate carries out BIND's $GENERATE start-stop[/step] owner [ttl] [class] type data,
// where $ and ${offset,width,base} stand for the number.
func (f *zoneFile) generate(st *state, line int, args []token) error {
	if len(args) < 3 {
		return fmt.Errorf("$GENERATE takes a range, a name, a type and data")
	}
	from, to, step, err := generateRange(args[0].text)
	if err != nil {
		return err
	}
	row := make([]token, len(args)-1)
	for n := from; n <= to; n += step {
		for i, a := range args[1:] {
			if row[i].text, err = expandNumber(a.text, n); err != nil {
				return err
			}
		}
		owner, err := f.name(row[0].text, st.origin)
		if err != nil {
			return err
		}
		if err := f.record(st, line, owner, row[1:]); err != nil {
			return err
		}
	}
	return nil
}

func generateRange(s string) (from, to, step int, err error) {
	bounds, stepText, hasStep := strings.Cut(s, "/")
	a, b, ok := strings.Cut(bounds, "-")
	step = 1
	var errs [3]error
	from, errs[0] = strconv.Atoi(a)
	to, errs[1] = strconv.Atoi(b)
	if hasStep {
		step, errs[2] = strconv.Atoi(stepText)
	}
	if !ok || errs[0] != nil || errs[1] != nil || errs[2] != nil || from < 0 || to < from || step < 1 || to > 1<<31-1 {
		return 0, 0, 0, fmt.Errorf("$GENERATE range %q is not start-stop or start-stop/step", s)
	}
	if (to-from)/step >= maxGenerate {
		return 0, 0, 0, fmt.Errorf("$GENERATE makes more than %d records", maxGenerate)
	}
	return from, to, step, nil
}

// expandNumber replaces $ and ${offset,width,base}; \$ and $$ are a dollar.
func expandNumber(s string, n int) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '$':
			b.WriteByte('$')
			i++
		case s[i] != '$':
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == '$':
			b.WriteByte('$')
			i++
		case i+1 < len(s) && s[i+1] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return "", fmt.Errorf("%q: ${ is never closed", s)
			}
			text, err := formatNumber(s[i+2:i+end], n)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			i += end
		default:
			b.WriteString(strconv.Itoa(n))
		}
	}
	return b.String(), nil
}

func formatNumber(spec string, n int) (string, error) {
	parts := strings.Split(spec, ",")
	offset, err := strconv.Atoi(parts[0])
	if err != nil || len(parts) > 3 {
		return "", fmt.Errorf("${%s} is not ${offset,width,base}", spec)
	}
	width, base := 0, "d"
	if len(parts) > 1 {
		if width, err = strconv.Atoi(parts[1]); err != nil || width < 0 || width > 255 {
			return "", fmt.Errorf("${%s}: the width is not a number up to 255", spec)
		}
	}
	if len(parts) > 2 {
		base = parts[2]
	}
	if n+offset < 0 || n+offset > 1<<31-1 {
		return "", fmt.Errorf("${%s} leaves the range of numbers", spec)
	}
	switch base {
	case "d", "o", "x", "X":
		return fmt.Sprintf("%0*"+base, width, n+offset), nil
	case "n", "N":
		return nibbles(n+offset, width, base == "N"), nil
	}
	return "", fmt.Errorf("${%s}: the base is one of d, o, x, X, n, N", spec)
}

// nibbles writes hex digits from the last to the first with dots between, for
// reverse zones of IPv6.
func nibbles(n, width int, upper bool) string {
	digits := "0123456789abcdef"
	if upper {
		digits = "0123456789ABCDEF"
	}
	var out []string
	for len(out)*2 < width+1 && len(out) < 64 || n > 0 {
		out = append(out, digits[n&15:n&15+1])
		n >>= 4
	}
	return strings.Join(out, ".")
}
