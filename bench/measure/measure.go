// Package measure runs programs and servers and says what they cost: wall time,
// CPU time, memory.
package measure

import (
	"fmt"
	"slices"
	"time"
)

// Cost is what one run took.
type Cost struct {
	Wall time.Duration
	CPU  time.Duration
}

// Median runs f n times and gives the run with the median wall time.
func Median(n int, f func() (Cost, error)) (Cost, error) {
	costs := make([]Cost, 0, n)
	for range n {
		c, err := f()
		if err != nil {
			return c, err
		}
		costs = append(costs, c)
	}
	slices.SortFunc(costs, func(a, b Cost) int { return int(a.Wall - b.Wall) })
	return costs[len(costs)/2], nil
}

// Figure prints one result as "figure NAME VALUE UNIT", with its aim if there
// is one: what scripts/bench-report.sh reads.
func Figure(name string, value float64, unit, aim string) {
	line := fmt.Sprintf("figure %s %.2f %s", name, value, unit)
	if aim != "" {
		line += " aim " + aim
	}
	fmt.Println(line)
}

// Milliseconds gives a duration as a number.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func tail(s string) string {
	if len(s) > 2000 {
		return "…" + s[len(s)-2000:]
	}
	return s
}
