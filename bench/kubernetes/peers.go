package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube"
)

// bareApply is one server-side apply by client-go.
func (w *world) bareApply(ctx context.Context, u *unstructured.Unstructured, dry bool) error {
	m, err := w.bare.Mapping(ctx, u.GroupVersionKind())
	if err == nil {
		_, err = w.bare.Apply(ctx, m, u, kube.ApplyOptions{Manager: "bench", Force: true, DryRun: dry})
	}
	return err
}

// bareAll is the loop that trueup is compared with: every object of every
// target once, some at a time.
func (w *world) bareAll(fleet []*target, atOnce int, dry bool) error {
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(atOnce)
	for _, t := range fleet {
		objs, err := t.parsed()
		if err != nil {
			return err
		}
		for _, u := range objs {
			g.Go(func() error { return w.bareApply(ctx, u, dry) })
		}
	}
	return g.Wait()
}

func (w *world) kubectlApply(fleet []*target) error {
	dir, err := w.files(fleet)
	if err != nil {
		return err
	}
	_, err = w.server.Run("apply", "--server-side", "-f", dir)
	return err
}

// kubectlDiff finds no difference, which is its exit status 0.
func (w *world) kubectlDiff(fleet []*target) error {
	dir, err := w.files(fleet)
	if err != nil {
		return err
	}
	out, err := exec.Command("kubectl", "--kubeconfig", w.server.Kubeconfig, "diff", "--server-side", "-f", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out[:min(len(out), 2000)])))
	}
	return nil
}
