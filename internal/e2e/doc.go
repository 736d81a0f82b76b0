// Package e2e has the tests of the whole way: the real program between a real
// forge and a real environment. They carry the tag real.
package e2e
