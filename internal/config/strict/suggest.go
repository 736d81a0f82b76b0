package strict

import (
	"slices"
	"strings"
)

// Suggest gives the name that comes closest to what was written, or "" when
// none is close.
func Suggest(got string, names []string) string {
	best, bestDist := "", len(got)/3+2
	for _, n := range slices.Sorted(slices.Values(names)) {
		if d := distance(strings.ToLower(got), strings.ToLower(n), bestDist); d < bestDist {
			best, bestDist = n, d
		}
	}
	return best
}

// Mend says which names there are, and which one was most likely meant.
func Mend(got string, names []string) string {
	if s := Suggest(got, names); s != "" {
		return `did you mean "` + s + `"?`
	}
	if len(names) == 0 {
		return "there are none"
	}
	sorted := slices.Sorted(slices.Values(names))
	const most = 20
	if len(sorted) > most {
		return "there are: " + strings.Join(sorted[:most], ", ") + ", …"
	}
	return "there are: " + strings.Join(sorted, ", ")
}

// distance counts the edits (insert, delete, change, swap of neighbours) that
// lead from a to b; it gives limit when there are more.
func distance(a, b string, limit int) int {
	if len(a) > 64 || len(b) > 64 || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, row := rows[0], rows[1], rows[2]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		rows[0], rows[1], rows[2] = prev, row, before
	}
	return min(rows[1][len(b)], limit)
}

// Distance counts the edits between two names.
func Distance(a, b string) int {
	return distance(strings.ToLower(a), strings.ToLower(b), len(a)+len(b)+1)
}
