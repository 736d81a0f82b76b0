package ssh

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"io"
	"strings"

	client "trueup.dev/trueup/internal/client/ssh"
)

// lib is the shell functions without their comments and indents.
//
//go:embed lib.sh
var libText string

var lib = bare(libText)

func bare(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimLeft(line, "\t")
		if !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func quote(s string) string { return client.Quote(s) }

func quoteAll(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(quote(w))
	}
	return b.String()
}

// script is the text of a shell script that the host reads from its standard
// input. It is one function, which the shell reads to its end before it does
// anything: a text that is cut short does nothing at all.
type script struct {
	bytes.Buffer
	nonce string
}

func newScript() *script { return &script{nonce: rand.Text()[:16]} }

// text gives the whole of it.
func (s *script) text(withLib bool) io.Reader {
	var head strings.Builder
	fmt.Fprintf(&head, "N=%s\n", s.nonce)
	if withLib {
		fmt.Fprintf(&head, "LIB=%s\neval \"$LIB\"\n", quote(lib))
	} else {
		head.WriteString(lib)
	}
	head.WriteString("main() {\n:\n")
	return io.MultiReader(strings.NewReader(head.String()), bytes.NewReader(s.Bytes()),
		strings.NewReader("echo \"$N end\"\n}\nmain </dev/null\nexit\n"))
}

// size is about how long the text is.
func (s *script) size() int { return s.Len() + len(lib) }

// shellFromStdin and shellFromGzip run a script that comes as input.
const (
	shellFromStdin = "exec sh"
	shellFromGzip  = "gzip -dc | sh"
)

// runScript runs a script on a host and gives what it said.
func runScript(ctx context.Context, t transport, s *script, withLib bool, most int) ([]byte, error) {
	var out bounded
	out.most = most
	err := t.run(ctx, shellFromStdin, s.text(withLib), &out)
	if err == nil && out.over {
		err = fmt.Errorf("the host's answer is longer than %d bytes", most)
	}
	return out.Bytes(), err
}

// bounded keeps an answer up to a limit.
type bounded struct {
	bytes.Buffer
	most int
	over bool
}

// Write takes the next piece.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.most {
		b.over = true
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
