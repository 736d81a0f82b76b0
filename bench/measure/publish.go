package measure

import (
	"fmt"
	"os"
	"strings"
)

// Publish prints the tables and, if a page is named, puts them between its
// markers <!-- NAME --> and <!-- /NAME -->.
func Publish(page, name string, tables ...*Table) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s.\n", Machine())
	for _, t := range tables {
		b.WriteString("\n" + t.String())
	}
	fmt.Print(b.String())
	if page == "" {
		return nil
	}
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	start, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	before, rest, ok := strings.Cut(string(old), start)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no markers %s and %s", page, strings.TrimSpace(start), strings.TrimSpace(end))
	}
	return os.WriteFile(page, []byte(before+start+"\n"+b.String()+"\n"+end+after), 0o644)
}
