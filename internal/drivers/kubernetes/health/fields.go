package health

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The bounds of what is said of an object, in bytes. Secrets are masked before
// a text is cut to size, for a cut could leave the beginning of one.
const (
	maxRaw    = 4 << 10 // of a text that others wrote, before it is masked
	maxText   = 300     // of one reason
	maxDetail = 2000    // of an explanation
)

// number reads a whole number.
func number(u *unstructured.Unstructured, path ...string) (int64, bool) {
	v, found, err := unstructured.NestedFieldNoCopy(u.Object, path...)
	if !found || err != nil {
		return 0, false
	}
	switch x := v.(type) {
	case int64:
		return x, true
	case int:
		return int64(x), true
	case float64:
		return int64(x), true
	}
	return 0, false
}

// count reads a number that has a default.
func count(u *unstructured.Unstructured, or int64, path ...string) int64 {
	if n, ok := number(u, path...); ok {
		return n
	}
	return or
}

func str(u *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(u.Object, path...)
	return s
}

func flag(u *unstructured.Unstructured, path ...string) bool {
	b, _, _ := unstructured.NestedBool(u.Object, path...)
	return b
}

// condition is one of status.conditions.
type condition struct {
	Type, Status, Reason, Message string
	Generation                    int64
	Updated                       time.Time // the later of its two times
}

// text is the condition's reason with its message.
func (c condition) text() string {
	switch {
	case c.Message == "" && c.Reason == "":
		return c.Type + " is " + c.Status
	case c.Message == "":
		return c.Reason
	case c.Reason == "":
		return c.Message
	}
	return c.Reason + ": " + c.Message
}

func conditionsOf(u *unstructured.Unstructured) []condition {
	list, _, _ := unstructured.NestedFieldNoCopy(u.Object, "status", "conditions")
	items, _ := list.([]any)
	var out []condition
	for _, x := range items {
		m, ok := x.(map[string]any)
		if !ok {
			continue
		}
		text := func(key string) string { s, _ := m[key].(string); return s }
		c := condition{Type: text("type"), Status: text("status"), Reason: text("reason"), Message: text("message")}
		c.Generation, _ = m["observedGeneration"].(int64)
		for _, key := range []string{"lastTransitionTime", "lastUpdateTime"} {
			if t, err := time.Parse(time.RFC3339, text(key)); err == nil && t.After(c.Updated) {
				c.Updated = t
			}
		}
		out = append(out, c)
	}
	return out
}

// find gives a condition by its type.
func find(u *unstructured.Unstructured, kind string) (condition, bool) {
	for _, c := range conditionsOf(u) {
		if c.Type == kind {
			return c, true
		}
	}
	return condition{}, false
}

// changed tells when the managers last changed the object, else when it was
// made.
func changed(u *unstructured.Unstructured, managers []string) time.Time {
	at := u.GetCreationTimestamp().Time
	for _, m := range u.GetManagedFields() {
		if m.Subresource == "" && m.Time != nil && m.Time.After(at) && slices.Contains(managers, m.Manager) {
			at = m.Time.Time
		}
	}
	return at
}

// reported tells when the object's status was last written.
func reported(u *unstructured.Unstructured) time.Time {
	var at time.Time
	for _, m := range u.GetManagedFields() {
		if m.Time != nil && m.Time.After(at) && (m.Subresource == "status" || m.Operation == metav1.ManagedFieldsOperationUpdate && writesStatus(m)) {
			at = m.Time.Time
		}
	}
	return at
}

func writesStatus(m metav1.ManagedFieldsEntry) bool {
	return m.FieldsV1 != nil && strings.Contains(m.FieldsV1.GetRawString(), `"f:status":`)
}

// clean makes one line of a text that others wrote, and bounds it.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
