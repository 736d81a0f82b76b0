package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// churnEvery is the time between two status writes: 50 a second.
const churnEvery = 20 * time.Millisecond

// noChange measures checks that find nothing: idle, then while somebody writes
// the status of the targets' Deployments.
func (w *world) noChange(s steps, ours, bare, kubectl []*target) error {
	was, err := w.prints(ours)
	if err != nil {
		return err
	}
	err = errors.Join(
		s.time("nochange_trueup_check", func() error { return w.check(ours, was) }),
		s.time("nochange_trueup_exact", func() error { return w.each(ours, 1, w.exact) }),
		s.time("nochange_bare_dry_runs", func() error { return w.bareAll(bare, 1, true) }),
		s.time("nochange_kubectl_diff", func() error { return w.kubectlDiff(kubectl) }))
	if err != nil {
		return err
	}
	stop, err := w.churn(ours)
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	err = errors.Join(
		s.time("nochange_trueup_check_churn", func() error { return w.check(ours, was) }),
		s.time("nochange_bare_dry_runs_churn", func() error { return w.bareAll(bare, 1, true) }))
	n, failed := stop()
	if n == 0 && failed == nil {
		failed = errors.New("there was no churn")
	}
	return errors.Join(err, failed)
}

// churn writes statuses until it is stopped, which tells how many were.
func (w *world) churn(fleet []*target) (stop func() (int, error), err error) {
	client, err := dynamic.NewForConfig(w.bare.Rest())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var n int
	var failed error
	wg.Go(func() {
		deployments := client.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"})
		tick := time.NewTicker(churnEvery)
		defer tick.Stop()
		for failed == nil {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			i := n % len(fleet)
			body := fmt.Appendf(nil, `{"status":{"observedGeneration":1,"replicas":%d}}`, 1+n%7)
			_, failed = deployments.Namespace(fleet[i].namespace).Patch(ctx, fmt.Sprintf("t%d", i), types.MergePatchType, body, metav1.PatchOptions{}, "status")
			if ctx.Err() != nil {
				failed = nil
				return
			}
			n++
		}
	})
	return func() (int, error) { cancel(); wg.Wait(); return n, failed }, nil
}
