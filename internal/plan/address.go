// Package plan holds the data that a reconciliation passes along: addresses,
// changes, plans and results. It is pure data: stored, shown, hashed and sent
// to another process. It depends on the standard library alone.
package plan

import (
	"cmp"
	"fmt"
)

// Scope names a part of an environment that is read, planned and written on
// its own: a DNS zone, a host, a namespace, a system. The empty scope is the
// whole environment.
type Scope string

// Address names one managed object inside its scope, in the driver's own
// canonical form, for example "www.example.com./A" or "/etc/motd". Addresses
// compare bytewise; a driver has one spelling for each object.
type Address string

// Key is an object's full name inside an environment.
type Key struct {
	Scope   Scope   `json:"scope,omitempty"`
	Address Address `json:"address"`
}

// String gives "scope address", or the address alone in the empty scope.
func (k Key) String() string {
	if k.Scope == "" {
		return string(k.Address)
	}
	return fmt.Sprintf("%s %s", k.Scope, k.Address)
}

// Compare orders keys by scope, then by address.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Scope, o.Scope), cmp.Compare(k.Address, o.Address))
}

// Source is the place in Git that asks for a change. Line and Column count
// from 1; 0 means unknown.
type Source struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String gives file:line:column, as far as known.
func (s Source) String() string {
	switch {
	case s.File == "":
		return ""
	case s.Line == 0:
		return s.File
	case s.Column == 0:
		return fmt.Sprintf("%s:%d", s.File, s.Line)
	}
	return fmt.Sprintf("%s:%d:%d", s.File, s.Line, s.Column)
}
