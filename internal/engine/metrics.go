package engine

import (
	"github.com/prometheus/client_golang/prometheus"

	"trueup.dev/trueup/internal/store"
)

// metrics follow the field's naming; no label names a target, so that 10,000
// targets stay cheap.
type metrics struct {
	runs     *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics() *metrics {
	return &metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "trueup_runs_total",
			Help: "Runs that ended, by state and environment."}, []string{"state", "environment"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "trueup_run_duration_seconds",
			Help: "Time from start to end of runs.", Buckets: prometheus.ExponentialBuckets(0.01, 3, 12)}, []string{"environment"}),
	}
}

// Describe and Collect make the engine a prometheus.Collector.
func (e *Engine) Describe(ch chan<- *prometheus.Desc) {
	e.metrics.runs.Describe(ch)
	e.metrics.duration.Describe(ch)
}

// Collect gives the current values.
func (e *Engine) Collect(ch chan<- prometheus.Metric) {
	e.metrics.runs.Collect(ch)
	e.metrics.duration.Collect(ch)
}

// observe counts a run that ended.
func (e *Engine) observe(r store.Run) {
	e.metrics.runs.WithLabelValues(string(r.State), r.Environment).Inc()
	e.metrics.duration.WithLabelValues(r.Environment).Observe(r.Finished.Sub(r.Started).Seconds())
}
