package health

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// masks are secret texts, the longest first, so that one inside another leaves
// no rest.
type masks []string

// minSecret is the shortest text that is masked: "true" and "1" are no secrets
// but would make every message unreadable.
const minSecret = 5

// secretsOf gathers the secret values of a target's own objects: the data of
// Secrets and what is marked as sensitive, whole and line by line.
func secretsOf(objects []manifest.Object) masks {
	var m masks
	for _, o := range objects {
		if o.Unstructured == nil {
			continue
		}
		if o.GroupVersionKind().Group == "" && o.GetKind() == "Secret" {
			m.secret(o.Unstructured)
		}
		for _, p := range o.Sensitive {
			m.any(at(o.Object, p))
		}
	}
	slices.SortFunc(m, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(m)
}

func (m *masks) secret(u *unstructured.Unstructured) {
	m.any(u.Object["stringData"])
	data, _ := u.Object["data"].(map[string]any)
	for _, v := range data {
		text, _ := v.(string)
		m.add(text)
		if b, err := base64.StdEncoding.DecodeString(text); err == nil {
			m.add(string(b))
		}
	}
}

func (m *masks) any(v any) {
	switch x := v.(type) {
	case string:
		m.add(x)
	case map[string]any:
		for _, y := range x {
			m.any(y)
		}
	case []any:
		for _, y := range x {
			m.any(y)
		}
	}
}

func (m *masks) add(text string) {
	for _, s := range append(strings.Split(text, "\n"), text) {
		if s = clean(s, len(s)); len(s) >= minSecret {
			*m = append(*m, s)
		}
	}
}

// clip makes one line of a text, without secrets and of bounded length.
func (m masks) clip(s string, limit int) string {
	s = clean(s, maxRaw)
	for _, secret := range m {
		s = strings.ReplaceAll(s, secret, "***")
	}
	return clean(s, limit)
}

// at follows a JSON pointer (RFC 6901).
func at(v any, pointer string) any {
	if pointer == "" {
		return v
	}
	for _, key := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		key = strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}
