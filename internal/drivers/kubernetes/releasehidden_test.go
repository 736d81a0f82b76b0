package kubernetes

import (
	"fmt"
	"testing"
)

// TestHiddenValues: of what Helm has written down only that shows which the
// target gives as well, and which is no secret there.
func TestHiddenValues(t *testing.T) {
	had := map[string]any{"same": "a", "old": "secret", "password": "x", "list": []any{"secret"}, "kept": []any{"b"}, "deep": map[string]any{"gone": "secret", "a/b": "c"}}
	gives := map[string]any{"same": "b", "password": "y", "list": []any{"other"}, "kept": []any{"b"}, "deep": map[string]any{"a/b": "d"}}
	if got := fmt.Sprint(hiddenValues(had, gives, []string{"/password"})); got != "[/values/deep/gone /values/list /values/old /values/password]" {
		t.Error(got)
	}
}
