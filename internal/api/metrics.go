package api

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"trueup.dev/trueup/internal/store"
)

// newRegistry holds the metrics of this process: those of Go and the process,
// the engine's, and what the store says at the time of the scrape. No label
// names a target.
func newRegistry(o Options) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(&stored{store: o.Store, clock: o.Clock})
	for _, c := range o.Collectors {
		r.MustRegister(c)
	}
	return r
}

// stored collects from the store.
type stored struct {
	store store.Store
	clock func() time.Time
}

var (
	queueDepth = prometheus.NewDesc("trueup_queue_depth", "Work that is due or under way, by kind.", []string{"kind"}, nil)
	byPhase    = prometheus.NewDesc("trueup_targets", "Targets by phase.", []string{"phase"}, nil)
	fetchAge   = prometheus.NewDesc("trueup_git_fetch_age_seconds", "Time since the last successful fetch of a repository.", []string{"repository"}, nil)
	storeUp    = prometheus.NewDesc("trueup_store_up", "Whether the store answered this scrape.", nil, nil)
)

// Describe names the metrics.
func (s *stored) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{queueDepth, byPhase, fetchAge, storeUp} {
		ch <- d
	}
}

// Collect asks the store; one that does not answer is told by trueup_store_up.
func (s *stored) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	depth, err := s.store.Depth(ctx)
	if err != nil {
		gauge(storeUp, 0)
		return
	}
	for _, k := range []store.WorkKind{store.Reconcile, store.Preview, store.Poll, store.Outbox} {
		gauge(queueDepth, float64(depth[k]), string(k))
	}
	phases, err := s.store.CountTargets(ctx)
	if err != nil {
		gauge(storeUp, 0)
		return
	}
	for _, p := range []store.Phase{store.Pending, store.Synced, store.OutOfSync, store.Held, store.Failing, store.Partial, store.Running} {
		gauge(byPhase, float64(phases[p]), string(p))
	}
	repos, err := s.store.Repositories(ctx)
	if err != nil {
		gauge(storeUp, 0)
		return
	}
	for _, r := range repos {
		if !r.FetchedAt.IsZero() {
			gauge(fetchAge, s.clock().Sub(r.FetchedAt).Seconds(), r.Name)
		}
	}
	gauge(storeUp, 1)
}
