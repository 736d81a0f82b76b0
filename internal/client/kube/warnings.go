package kube

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// Warnings collects what a server warns of: deprecated versions, unknown
// fields, what admission policies add.
//
// Source: https://kubernetes.io/blog/2020/09/03/warnings/
type Warnings struct {
	mu   sync.Mutex
	list []string
}

const (
	mostWarnings   = 100
	longestWarning = 1000
)

type warningsKey struct{}

// In gives a context whose requests' warnings are collected.
func (w *Warnings) In(ctx context.Context) context.Context {
	return context.WithValue(ctx, warningsKey{}, w)
}

// List gives each warning once, in the order they came.
func (w *Warnings) List() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.list)
}

func (w *Warnings) add(text string) {
	if len(text) > longestWarning {
		text = text[:longestWarning]
	}
	text = strings.ToValidUTF8(text, "")
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.list) < mostWarnings && !slices.Contains(w.list, text) {
		w.list = append(w.list, text)
	}
}

// collector hands warnings to whoever collects them in the request's context.
type collector struct{}

// HandleWarningHeaderWithContext takes one warning; those of Kubernetes have
// the code 299.
func (collector) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	if w, ok := ctx.Value(warningsKey{}).(*Warnings); ok && code == 299 && text != "" {
		w.add(text)
	}
}
