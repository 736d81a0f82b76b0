package source

import (
	"context"
	"fmt"
	"strings"
)

// maxDepth bounds how deep a walk goes.
const maxDepth = 200

// walker goes through a tree, within bounds.
type walker struct {
	tree  Tree
	nodes int // entries that may still be visited
	// into tells whether to enter a directory.
	into func(e Entry) bool
	// visit is called for every entry, a directory before what is in it.
	visit func(e Entry) error
}

func (w *walker) walk(ctx context.Context, dir string) error {
	if strings.Count(dir, "/") > maxDepth {
		return fmt.Errorf("%s: deeper than %d directories: %w", dir, maxDepth, ErrTooLarge)
	}
	entries, err := w.tree.List(ctx, dir)
	if err != nil {
		return err
	}
	if w.nodes -= len(entries); w.nodes < 0 {
		return fmt.Errorf("%s: the walk visits too many entries: %w", dir, ErrTooLarge)
	}
	for _, e := range entries {
		if err := w.visit(e); err != nil {
			return err
		}
		if e.IsDir() && (w.into == nil || w.into(e)) {
			if err := w.walk(ctx, e.Path); err != nil {
				return err
			}
		}
	}
	return nil
}
