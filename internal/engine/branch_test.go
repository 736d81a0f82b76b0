package engine

import "testing"

func TestBranchPart(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []string{"prod", "shop", "shop-*", "shop*", "a/b", "a-b", "a.b", "a_b", "..", "", "-x", "ä", "x.lock", "@{"} {
		p := branchPart(s)
		if other, dup := seen[p]; dup {
			t.Errorf("%q and %q are both %q", s, other, p)
		}
		seen[p] = s
	}
	if branchPart("prod") != "prod" {
		t.Error("a plain name is changed")
	}
}
