package diff

// Holds tells that an object holds all that is desired of it: each desired
// field, with the same value, and lists of the same length. It may say no where
// the server would see no difference (1000m and 1), never yes where there is
// one.
func Holds(have, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range w {
			got, there := h[k]
			if !there && v != nil || there && !Holds(got, v) {
				return false
			}
		}
		return true
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return false
		}
		for i := range w {
			if !Holds(h[i], w[i]) {
				return false
			}
		}
		return true
	}
	return Equal(have, want)
}

// Overlap gives the fields of an object that are desired of it, with the values
// that they have. Lists are given as a whole.
func Overlap(have, want any) any {
	h, ok := have.(map[string]any)
	w, ok2 := want.(map[string]any)
	if !ok || !ok2 {
		return have
	}
	out := make(map[string]any, len(w))
	for k, v := range w {
		if got, there := h[k]; there {
			out[k] = Overlap(got, v)
		}
	}
	return out
}
