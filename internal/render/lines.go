package render

import (
	"fmt"
	"strings"
)

// context is how many equal lines are shown around a difference, maxLines how
// many lines of a text are shown at most, and maxCells bounds the work of
// comparing two texts.
const (
	context  = 2
	maxLines = 60
	maxCells = 4 << 20
)

// multiline splits a text of more than one line.
func multiline(text string) ([]string, bool) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := range lines {
		lines[i] = Line(lines[i])
	}
	return lines, len(lines) > 1
}

func clip(lines []string) []string {
	if len(lines) <= maxLines {
		return lines
	}
	return append(lines[:maxLines:maxLines], fmt.Sprintf("… and %d more lines", len(lines)-maxLines))
}

// lineDiff compares two texts line by line and keeps a little context.
func lineDiff(b, a []string, indent int) []DiffLine {
	head := 0
	for head < len(b) && head < len(a) && b[head] == a[head] {
		head++
	}
	tail := 0
	for tail < len(b)-head && tail < len(a)-head && b[len(b)-1-tail] == a[len(a)-1-tail] {
		tail++
	}
	var all []DiffLine
	for _, l := range b[:head] {
		all = append(all, DiffLine{' ', indent, l})
	}
	all = append(all, middle(b[head:len(b)-tail], a[head:len(a)-tail], indent)...)
	for _, l := range b[len(b)-tail:] {
		all = append(all, DiffLine{' ', indent, l})
	}
	return near(all, indent)
}

// middle compares by the longest common subsequence; texts too large for that
// are shown as removed and added.
func middle(b, a []string, indent int) []DiffLine {
	var out []DiffLine
	if len(b)*len(a) > maxCells {
		for _, l := range clip(b) {
			out = append(out, DiffLine{'-', indent, l})
		}
		for _, l := range clip(a) {
			out = append(out, DiffLine{'+', indent, l})
		}
		return out
	}
	length := common(b, a)
	i, j := 0, 0
	for i < len(b) || j < len(a) {
		switch {
		case i < len(b) && j < len(a) && b[i] == a[j]:
			out = append(out, DiffLine{' ', indent, b[i]})
			i, j = i+1, j+1
		case j == len(a) || i < len(b) && length[i+1][j] >= length[i][j+1]:
			out = append(out, DiffLine{'-', indent, b[i]})
			i++
		default:
			out = append(out, DiffLine{'+', indent, a[j]})
			j++
		}
	}
	return out
}

func common(b, a []string) [][]int32 {
	length := make([][]int32, len(b)+1)
	for i := range length {
		length[i] = make([]int32, len(a)+1)
	}
	for i := len(b) - 1; i >= 0; i-- {
		for j := len(a) - 1; j >= 0; j-- {
			if b[i] == a[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	return length
}

// near drops equal lines that are far from every difference.
func near(all []DiffLine, indent int) []DiffLine {
	keep := make([]bool, len(all))
	for i, l := range all {
		if l.Sign == ' ' {
			continue
		}
		for k := max(0, i-context); k <= min(len(all)-1, i+context); k++ {
			keep[k] = true
		}
	}
	var out []DiffLine
	for i := 0; i < len(all); i++ {
		if keep[i] {
			out = append(out, all[i])
			continue
		}
		start := i
		for i+1 < len(all) && !keep[i+1] {
			i++
		}
		out = append(out, DiffLine{' ', indent, fmt.Sprintf("… %d equal %s", i-start+1, plural(i-start+1, "line", "lines"))})
	}
	if len(out) > 2*maxLines {
		out = append(out[:2*maxLines:2*maxLines], DiffLine{' ', indent, "… more"})
	}
	return out
}
