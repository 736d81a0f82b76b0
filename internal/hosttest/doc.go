// Package hosttest holds the end-to-end tests of hosts: the real program, a
// Git repository, and fifty real OpenSSH hosts, asserted on the hosts' own
// file systems. It has no code of its own.
package hosttest
