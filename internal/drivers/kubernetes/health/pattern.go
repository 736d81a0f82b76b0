package health

import (
	"fmt"
	"path"
	"strings"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// pattern names objects by kind ("Job", "Certificate.cert-manager.io",
// "*.example.com") or by address ("Deployment.apps/shop/*"). A kind without a
// group stands for that kind in every group.
type pattern struct {
	text        string
	kind, group string
	anyGroup    bool
	space, name string
	namespaced  bool
	anyName     bool
}

// parsePattern reads a pattern.
func parsePattern(text string) (pattern, error) {
	p := pattern{text: text}
	parts := strings.Split(text, "/")
	kind, group, grouped := strings.Cut(parts[0], ".")
	p.kind, p.group, p.anyGroup = kind, group, !grouped
	switch len(parts) {
	case 1:
		p.anyName = true
	case 2:
		p.name = parts[1]
	case 3:
		p.space, p.name, p.namespaced = parts[1], parts[2], true
	default:
		return p, fmt.Errorf("%q names no objects: write a kind (Deployment, Certificate.cert-manager.io) or an address (Deployment.apps/shop/api)", text)
	}
	for _, glob := range []string{p.kind, p.group, p.space, p.name} {
		if _, err := path.Match(glob, ""); err != nil {
			return p, fmt.Errorf("%q is no pattern: %w", text, err)
		}
	}
	if kind == "" || grouped && group == "" || !p.anyName && p.name == "" || p.namespaced && p.space == "" {
		return p, fmt.Errorf("%q names no objects: write a kind (Deployment, Certificate.cert-manager.io) or an address (Deployment.apps/shop/api)", text)
	}
	return p, nil
}

// matches tells whether an object is one of those named.
func (p pattern) matches(r manifest.Ref) bool {
	if !glob(p.kind, r.Kind) || !p.anyGroup && !glob(p.group, r.Group) {
		return false
	}
	if p.anyName {
		return true
	}
	return p.namespaced == (r.Namespace != "") && (!p.namespaced || glob(p.space, r.Namespace)) && glob(p.name, r.Name)
}

func glob(pattern, s string) bool {
	ok, err := path.Match(pattern, s)
	return err == nil && ok
}

type patterns []pattern

func (ps patterns) match(r manifest.Ref) bool {
	for _, p := range ps {
		if p.matches(r) {
			return true
		}
	}
	return false
}
