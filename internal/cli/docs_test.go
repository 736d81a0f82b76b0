package cli

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/cli anew")

const docsDir = "../../docs/cli"

// TestDocs keeps docs/cli true: one page per command, made from the commands.
func TestDocs(t *testing.T) {
	t.Setenv("TRUEUP_CONFIG", "")
	root := New()
	root.InitDefaultHelpCmd()
	want := map[string]string{"README.md": index(root)}
	walk(root, func(c *cobra.Command) { want[page(c)] = markdown(c) })
	if *update {
		if err := os.MkdirAll(docsDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(docsDir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(docsDir, name))
		if err != nil || string(got) != text {
			t.Errorf("docs/cli/%s is not current: go test ./internal/cli -run TestDocs -update", name)
		}
	}
	there, err := os.ReadDir(docsDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range there {
		if _, ok := want[e.Name()]; !ok {
			t.Errorf("docs/cli/%s describes no command", e.Name())
		}
	}
}

// TestEveryCommandIsExplained: a summary, an example, and a use for each flag.
func TestEveryCommandIsExplained(t *testing.T) {
	walk(New(), func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" && c.HasParent() {
			t.Errorf("%s has no summary or no example", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s is not explained", c.CommandPath(), f.Name)
			}
		})
	})
}

func walk(c *cobra.Command, f func(*cobra.Command)) {
	if c.Name() == "help" || c.Name() == "completion" || c.Hidden {
		return
	}
	f(c)
	for _, sub := range c.Commands() {
		walk(sub, f)
	}
}

func page(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "_") + ".md" }

func index(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# The command line\n\nMade from `trueup --help`; `go test ./internal/cli -run TestDocs -update` makes it anew.\n\n| Command | |\n| --- | --- |\n")
	walk(root, func(c *cobra.Command) {
		fmt.Fprintf(&b, "| [%s](%s) | %s |\n", c.CommandPath(), page(c), c.Short)
	})
	return b.String()
}

func markdown(c *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s.\n\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."))
	if c.Long != "" {
		b.WriteString(c.Long + "\n\n")
	}
	if c.Runnable() {
		fmt.Fprintf(&b, "```\n%s\n```\n\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(&b, "## Examples\n\n```\n%s\n```\n\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
	if f := c.NonInheritedFlags(); f.HasAvailableFlags() {
		fmt.Fprintf(&b, "## Flags\n\n```\n%s```\n\n", f.FlagUsages())
	}
	if c.HasParent() {
		b.WriteString("Flags for all commands: [trueup](trueup.md).\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
