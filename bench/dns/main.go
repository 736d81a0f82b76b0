// Command dns measures the dns driver against BIND: planning beside a dig
// AXFR of the same zone, applying beside nsupdate with the same records.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"trueup.dev/trueup/bench/measure"
)

func main() {
	page := flag.String("page", "docs/benchmarks.md", "page to put the results into; empty for none")
	sizes := flag.String("sizes", "1000,10000,100000", "numbers of records")
	flag.Parse()
	if err := run(*page, *sizes); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(page, sizes string) error {
	tmp, err := os.MkdirTemp("", "trueup-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	bin := filepath.Join(tmp, "trueup")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/trueup").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	plans := &measure.Table{Title: "Plan with nothing to change, beside dig AXFR of the same zone",
		Head: []string{"Records", "dig AXFR", "trueup plan", "Ratio", "CPU of dig", "CPU of trueup", "Peak memory of trueup"}}
	applies := &measure.Table{Title: "Apply, beside nsupdate with the same records",
		Head: []string{"Records", "Change", "nsupdate", "trueup apply", "Ratio", "of it, plan alone"}}
	for size := range strings.SplitSeq(sizes, ",") {
		var n int
		if _, err := fmt.Sscan(size, &n); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%d records\n", n)
		s := &scene{dir: filepath.Join(tmp, size), bin: bin, n: n}
		if err := s.measure(plans, applies); err != nil {
			return err
		}
		if err := os.RemoveAll(s.dir); err != nil {
			return err
		}
	}
	return measure.Publish(page, "dns", plans, applies)
}
