package ssh

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// cronMacros are the names that stand for a schedule.
var cronMacros = []string{"@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}

// cronFields bounds the five parts of a schedule.
var cronFields = [5]struct {
	name     string
	min, max int
	names    []string
}{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of the month", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// checkSchedule says what is wrong with a schedule of cron.
func checkSchedule(s string) error {
	if strings.HasPrefix(s, "@") {
		if slices.Contains(cronMacros, s) {
			return nil
		}
		return fmt.Errorf("%q is unknown; there are: %s", clip(s), strings.Join(cronMacros, ", "))
	}
	parts := strings.Fields(s)
	if len(parts) != len(cronFields) || strings.ContainsAny(s, "\n\r\x00") {
		return fmt.Errorf("%q has not five parts: minute hour day month weekday", clip(s))
	}
	for i, part := range parts {
		f := cronFields[i]
		for item := range strings.SplitSeq(part, ",") {
			if err := checkCronItem(item, f.min, f.max, f.names); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	return nil
}

// checkCronItem checks *, N, N-M, and any of them with /STEP.
func checkCronItem(item string, lowest, highest int, names []string) error {
	span, step, stepped := strings.Cut(item, "/")
	if stepped {
		if n, ok := smallNumber(step); !ok || n < 1 || n > highest {
			return fmt.Errorf("%q is no step", clip(step))
		}
	}
	if span == "*" {
		return nil
	}
	from, to, ranged := strings.Cut(span, "-")
	a, err := cronValue(from, lowest, highest, names)
	if err != nil {
		return err
	}
	if !ranged {
		if stepped {
			return fmt.Errorf("%q: a step needs a range or *", clip(item))
		}
		return nil
	}
	b, err := cronValue(to, lowest, highest, names)
	if err != nil {
		return err
	}
	if a > b {
		return fmt.Errorf("%q runs backwards", clip(span))
	}
	return nil
}

func cronValue(s string, lowest, highest int, names []string) (int, error) {
	if i := slices.Index(names, strings.ToLower(s)); i >= 0 {
		return lowest + i, nil
	}
	n, ok := smallNumber(s)
	if !ok || n < lowest || n > highest {
		return 0, fmt.Errorf("%q is not between %d and %d", clip(s), lowest, highest)
	}
	return n, nil
}

func smallNumber(s string) (int, bool) {
	if s == "" || len(s) > 4 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

var (
	cronNamePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	envNamePattern  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// cronJob is what is written into a crontab.
type cronJob struct {
	Schedule string            `json:"schedule"`
	User     string            `json:"user"`
	Command  string            `json:"command"`
	Env      map[string]string `json:"env,omitempty"`
}

const cronHeader = "# Kept by trueup; changes by hand are undone."

// file gives the job as a file of /etc/cron.d.
func (j cronJob) file() string {
	var b strings.Builder
	b.WriteString(cronHeader + "\n")
	j.writeEnv(&b)
	fmt.Fprintf(&b, "%s %s %s\n", j.Schedule, j.User, j.Command)
	return b.String()
}

func (j cronJob) writeEnv(b *strings.Builder) {
	for _, k := range slices.Sorted(maps.Keys(j.Env)) {
		fmt.Fprintf(b, "%s=%s\n", k, cronQuote(j.Env[k]))
	}
}

// cronQuote puts a value into quotes where cron would strip its edges.
func cronQuote(s string) string {
	if s == strings.TrimSpace(s) && s != "" && !strings.ContainsAny(s[:1], `"'`) {
		return s
	}
	if strings.Contains(s, `"`) {
		return "'" + s + "'"
	}
	return `"` + s + `"`
}

// block gives the job as part of a user's crontab, between marks.
func (j cronJob) block(name string) string {
	var b strings.Builder
	b.WriteString(cronBegin(name) + "\n")
	j.writeEnv(&b)
	fmt.Fprintf(&b, "%s %s\n", j.Schedule, j.Command)
	b.WriteString(cronEnd(name) + "\n")
	return b.String()
}

func cronBegin(name string) string { return "# begin trueup " + name }
func cronEnd(name string) string   { return "# end trueup " + name }

// cutCrontab finds the block of a job in a user's crontab: what stands before
// it, in it and after it. A begin without its end is an error, because what
// follows may be somebody else's.
func cutCrontab(text, name string) (before, block, after string, err error) {
	begin, end := cronBegin(name), cronEnd(name)
	var out [3]strings.Builder
	part := 0
	for line := range strings.Lines(text) {
		switch bare := strings.TrimRight(line, "\r\n"); {
		case bare == begin && part == 0:
			part = 1
			out[part].WriteString(line)
		case bare == end && part == 1:
			out[part].WriteString(line)
			part = 2
		case bare == begin || bare == end:
			return "", "", "", fmt.Errorf("the marks of %s stand in the wrong order", name)
		default:
			out[part].WriteString(line)
		}
	}
	if part == 1 {
		return "", "", "", fmt.Errorf("%q has no %q after it", begin, end)
	}
	return out[0].String(), out[1].String(), out[2].String(), nil
}
