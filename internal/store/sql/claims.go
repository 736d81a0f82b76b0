package sql

import (
	"cmp"
	"context"
	"crypto/sha256"
	dbsql "database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// maxConflicts bounds the claims of others that are shown.
const maxConflicts = 100

// claim is a row: an exact address, or a prefix ("" is the whole realm).
type claim struct {
	realm, address string
	prefix         bool
}

// parseClaim reads "a", "a/*", "a/**" and "*".
func parseClaim(c store.Claim) claim {
	a := strings.TrimRight(string(c.Address), "*")
	return claim{realm: c.Realm, address: a, prefix: len(a) < len(c.Address)}
}

func (c claim) written(target string) store.Claim {
	a := c.address
	if c.prefix {
		a += "*"
	}
	return store.Claim{Realm: c.realm, Address: plan.Address(a), Target: target}
}

// TakeClaims claims all or nothing. The claims of one call belong to one
// target.
func (d *DB) TakeClaims(ctx context.Context, f store.Fence, claims []store.Claim) ([]store.Claim, error) {
	if len(claims) == 0 {
		return nil, nil
	}
	target := claims[0].Target
	want := make(map[claim]struct{}, len(claims))
	for _, c := range claims {
		if c.Target != target {
			return nil, fmt.Errorf("claims of %s and %s in one call", target, c.Target)
		}
		want[parseClaim(c)] = struct{}{}
	}
	sorted := slices.SortedFunc(maps.Keys(want), func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.realm, b.realm), cmp.Compare(a.address, b.address), compareBool(a.prefix, b.prefix))
	})
	var conflicts []store.Claim
	err := d.fenced(ctx, f, func(t *tx) (err error) {
		conflicts, err = t.takeClaims(target, sorted)
		return err
	})
	return conflicts, err
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func (t *tx) takeClaims(target string, want []claim) ([]store.Claim, error) {
	digest := claimsDigest(want)
	var have string
	err := t.get([]any{&have}, "SELECT claims_digest FROM targets WHERE id = ?", target)
	if err == nil && have == digest {
		return nil, nil // all of them are held already
	}
	missing, err := t.missingClaims(target, want)
	if err != nil {
		return nil, err
	}
	if err := t.lockRealms(missing); err != nil {
		return nil, err
	}
	conflicts, err := t.conflicts(target, missing)
	if err != nil {
		return nil, err
	}
	if len(conflicts) > 0 {
		c := conflicts[0]
		return conflicts, fmt.Errorf("%w: %s in %s belongs to %s", store.ErrConflict, c.Address, c.Realm, c.Target)
	}
	err = t.batch(len(missing), batch{
		head: "INSERT INTO claims (realm, address, prefix, target) VALUES ", tuple: "(?, ?, ?, ?)",
		args: func(i int) []any {
			return []any{missing[i].realm, missing[i].address, number(missing[i].prefix), target}
		},
	})
	if err != nil {
		return nil, err
	}
	_, err = t.exec("UPDATE targets SET claims_digest = ? WHERE id = ?", digest, target)
	return nil, err
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func claimsDigest(sorted []claim) string {
	h := sha256.New()
	for _, c := range sorted {
		fmt.Fprintf(h, "%q %q %t\n", c.realm, c.address, c.prefix)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// forgetClaimsDigest makes the next TakeClaims look at every claim again.
func (t *tx) forgetClaimsDigest(target string) error {
	_, err := t.exec("UPDATE targets SET claims_digest = '' WHERE id = ? AND claims_digest <> ''", target)
	return err
}

// missingClaims leaves out what the target holds.
func (t *tx) missingClaims(target string, want []claim) ([]claim, error) {
	held := make(map[claim]struct{})
	scan := func(r *dbsql.Rows) error {
		var c claim
		var prefix int
		if err := r.Scan(&c.realm, &c.address, &prefix); err != nil {
			return err
		}
		c.prefix = prefix != 0
		held[c] = struct{}{}
		return nil
	}
	// A few are looked up; for many, all that the target holds is read.
	const few = 2000
	var err error
	if len(want) > few {
		err = t.each(scan, "SELECT realm, address, prefix FROM claims WHERE target = ?", target)
	} else {
		err = t.in(byRealm(want), batch{
			head:  "SELECT realm, address, prefix FROM claims WHERE target = ? AND realm = ? AND prefix IN (0, 1) AND address IN",
			first: []any{target}, scan: scan,
		})
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(want), func(c claim) bool {
		_, ok := held[c]
		return ok
	}), nil
}

// lockRealms keeps two replicas from claiming in one realm at a time: a
// prefix collides with addresses that no unique index can see.
func (t *tx) lockRealms(claims []claim) error {
	last := ""
	for i, c := range claims { // sorted by realm
		if i > 0 && c.realm == last {
			continue
		}
		last = c.realm
		if err := t.lockName(lockRealm, c.realm); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) conflicts(target string, missing []claim) ([]store.Claim, error) {
	found := map[store.Claim]struct{}{}
	scan := func(r *dbsql.Rows) error {
		var c claim
		var prefix int
		var owner string
		if err := r.Scan(&c.realm, &c.address, &prefix, &owner); err != nil {
			return err
		}
		c.prefix = prefix != 0
		found[c.written(owner)] = struct{}{}
		return nil
	}
	if err := t.exactConflicts(target, missing, scan); err != nil {
		return nil, err
	}
	for _, c := range missing {
		if !c.prefix {
			continue
		}
		// Whatever others hold below this prefix.
		err := t.each(scan, `SELECT realm, address, prefix, target FROM claims
			WHERE realm = ? AND prefix IN (0, 1) AND address >= ? AND address < ? AND target <> ? LIMIT ?`,
			c.realm, c.address, c.address+above, target, maxConflicts)
		if err != nil {
			return nil, err
		}
	}
	if err := t.prefixConflicts(target, missing, scan); err != nil {
		return nil, err
	}
	list := slices.SortedFunc(maps.Keys(found), func(a, b store.Claim) int {
		return cmp.Or(cmp.Compare(a.Realm, b.Realm), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Target, b.Target))
	})
	return list[:min(len(list), maxConflicts)], nil
}

// above sorts behind every valid character.
const above = "\U0010FFFF"

func (t *tx) exactConflicts(target string, missing []claim, scan func(*dbsql.Rows) error) error {
	return t.in(byRealm(missing), batch{
		head:  "SELECT realm, address, prefix, target FROM claims WHERE target <> ? AND realm = ? AND prefix IN (0, 1) AND address IN",
		first: []any{target}, scan: scan,
	})
}

func byRealm(claims []claim) []group {
	return groupBy(claims, func(c claim) (string, string) { return c.realm, c.address })
}

// prefixConflicts compares with the prefixes that others hold; there are few
// of them in a realm.
func (t *tx) prefixConflicts(target string, missing []claim, scan func(*dbsql.Rows) error) error {
	byRealm := map[string][]string{}
	for _, c := range missing {
		byRealm[c.realm] = append(byRealm[c.realm], c.address)
	}
	for realm, addresses := range byRealm {
		var hit []string
		err := t.each(func(r *dbsql.Rows) error {
			var p string
			if err := r.Scan(&p); err != nil {
				return err
			}
			if slices.ContainsFunc(addresses, func(a string) bool { return strings.HasPrefix(a, p) }) {
				hit = append(hit, p)
			}
			return nil
		}, "SELECT address FROM claims WHERE realm = ? AND prefix = 1 AND target <> ?", realm, target)
		if err != nil {
			return err
		}
		for _, p := range hit {
			if err := t.each(scan, "SELECT realm, address, prefix, target FROM claims WHERE realm = ? AND prefix = 1 AND address = ?", realm, p); err != nil {
				return err
			}
		}
	}
	return nil
}
