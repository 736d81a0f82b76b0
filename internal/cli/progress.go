package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/render"
)

// progress shows on a terminal what goes on, once it takes over a second.
type progress struct {
	mu    sync.Mutex
	text  string
	shown bool
	w     io.Writer
	began time.Time
	quit  chan struct{}
	done  sync.WaitGroup
}

// newProgress starts one; it stays silent when w is no terminal.
func newProgress(w io.Writer) *progress {
	p := &progress{w: w, quit: make(chan struct{}), began: time.Now()}
	if render.IsTerminal(w) {
		p.done.Add(1)
		go p.run()
	}
	return p
}

func (p *progress) run() {
	defer p.done.Done()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-tick.C:
			p.draw()
		}
	}
}

func (p *progress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := time.Since(p.began); d > time.Second && p.text != "" {
		fmt.Fprintf(p.w, "\r\x1b[K%s (%ds)", cut(render.Line(p.text), 70), int(d.Seconds()))
		p.shown = true
	}
}

// set says what goes on now.
func (p *progress) set(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text
}

// clear takes the line away, before something else is written.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
	p.text = ""
}

func (p *progress) stop() {
	select {
	case <-p.quit:
	default:
		close(p.quit)
	}
	p.done.Wait()
	p.clear()
}

// errNobody says that there is nobody to ask.
var errNobody = errors.New("there is no terminal to ask at")

// confirm asks at the terminal; only "yes" is yes.
func confirm(cmd *cobra.Command, question string) (bool, error) {
	if !render.IsTerminal(asWriter(cmd.InOrStdin())) {
		return false, errNobody
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s Only \"yes\" is accepted: ", question)
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return strings.TrimSpace(line) == "yes", nil
}

// asWriter lets a reader that is a file be asked whether it is a terminal.
func asWriter(r io.Reader) io.Writer {
	w, _ := r.(io.Writer)
	return w
}

// now is the time of work without a server.
func now() time.Time { return time.Now().UTC() }
