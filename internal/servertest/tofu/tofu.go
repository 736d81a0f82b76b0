// Package tofu gives tests a real OpenTofu, built from its Go module.
package tofu

import "trueup.dev/trueup/internal/servertest/built"

// Program gives the path of OpenTofu's program, and builds it into the cache
// directory when it is not there, which takes minutes.
func Program() (string, error) { return built.Program("tofu") }
