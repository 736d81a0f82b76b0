package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// ID gives one hash over the object ids of everything that the view may read.
// Equal ids mean equal inputs; no blob is read for it.
func (v *View) ID(ctx context.Context) (string, error) {
	tops, err := v.tops(ctx)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00", v.path)
	for _, e := range tops {
		id, err := v.snap.tree.ID(ctx, e)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%o %s %s\x00", e.Mode, id, e.Path)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// tops gives the topmost entries that are covered, sorted by path.
func (v *View) tops(ctx context.Context) ([]Entry, error) {
	if v.err != nil {
		return nil, v.err
	}
	found := map[string]Entry{}
	for _, pat := range v.globs.patterns {
		if err := v.topsOf(ctx, pat, found); err != nil {
			return nil, err
		}
	}
	out := make([]Entry, 0, len(found))
	for _, e := range found {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int {
		switch {
		case a.Path < b.Path:
			return -1
		case a.Path > b.Path:
			return 1
		}
		return 0
	})
	return out, nil
}

// topsOf goes straight to the part of the tree that a pattern can match, so
// that its cost doesn't depend on the rest of the repository.
func (v *View) topsOf(ctx context.Context, pat []segment, found map[string]Entry) error {
	prefix, whole := staticPrefix(pat)
	at := Entry{Path: ".", Mode: ModeDir}
	if prefix != "." {
		e, ok, err := v.snap.tree.Lookup(ctx, prefix)
		if err != nil || !ok {
			return err
		}
		at = e
	}
	if whole {
		found[at.Path] = at
		return nil
	}
	if !at.IsDir() {
		return nil
	}
	one := Globs{patterns: [][]segment{pat}}
	w := walker{tree: v.snap.tree, nodes: v.snap.limits.Nodes,
		into: func(e Entry) bool { covered, below := one.Match(e.Path); return below && !covered },
		visit: func(e Entry) error {
			if covered, _ := one.Match(e.Path); covered {
				found[e.Path] = e
			}
			return nil
		}}
	return w.walk(ctx, at.Path)
}

// Export lists everything that the view may read, with object ids: kept
// together with the blobs it opens again through Stored.
func (v *View) Export(ctx context.Context) ([]Entry, error) {
	tops, err := v.tops(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]Entry{}
	add := func(e Entry) error {
		id, err := v.snap.tree.ID(ctx, e)
		e.ID = id
		all[e.Path] = e
		return err
	}
	w := walker{tree: v.snap.tree, nodes: v.snap.limits.Nodes, visit: add}
	for _, e := range tops {
		if err := add(e); err != nil {
			return nil, err
		}
		if e.IsDir() {
			if err := w.walk(ctx, e.Path); err != nil {
				return nil, err
			}
		}
	}
	out := make([]Entry, 0, len(all))
	for _, e := range all {
		out = append(out, e)
	}
	sortEntries(out)
	return out, nil
}

// Prefetch brings every blob that the view may read near, in one batch.
func (v *View) Prefetch(ctx context.Context) error {
	entries, err := v.Export(ctx)
	if err != nil {
		return err
	}
	return v.snap.tree.Prefetch(ctx, slices.DeleteFunc(entries, func(e Entry) bool { return e.IsDir() || e.Mode == ModeGitlink }))
}
