// Package kubernetestest holds the end-to-end tests of Kubernetes: the real
// program, a Git repository and a real control plane, asserted by kubectl. It
// has no code of its own.
package kubernetestest
