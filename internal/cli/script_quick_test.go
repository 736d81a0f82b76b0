//go:build !real

package cli_test

func realCommands() map[string]command { return nil }
