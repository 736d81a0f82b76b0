package engine

import "time"

// LeastPreview sets the least time for planning a pull request.
func LeastPreview(d time.Duration) (reset func()) {
	was := leastPreview
	leastPreview = d
	return func() { leastPreview = was }
}
