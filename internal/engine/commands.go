package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/identity"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/store"
)

// command is one that stands in a comment.
type command struct {
	comment forge.Comment
	verb    string
	arg     string
	who     identity.Person
	allowed error // why not, nil is yes
}

const (
	// maxCommands bounds the commands of one comment.
	maxCommands = 5
	// oldCommand is the age from which commands count no more on a pull request
	// that trueup sees for the first time.
	oldCommand = 24 * time.Hour
)

// parseCommands finds the lines of a comment that are commands: `trueup VERB
// [ARGUMENT]`, outside quotes and code.
func parseCommands(body string) [][2]string {
	var out [][2]string
	fence := ""
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, " \t\r\n")
		text := strings.TrimLeft(line, " ")
		if mark := fenceOf(text); mark != "" {
			switch {
			case fence == "":
				fence = mark
			case strings.HasPrefix(mark, fence):
				fence = ""
			}
			continue
		}
		if fence != "" || len(line)-len(text) >= 4 || len(text) > 500 {
			continue
		}
		words := strings.Fields(text)
		if len(words) < 2 || len(words) > 4 || words[0] != "trueup" && words[0] != "/trueup" {
			continue
		}
		if len(out) == maxCommands {
			break
		}
		out = append(out, [2]string{words[1], strings.Join(words[2:], " ")})
	}
	return out
}

// fenceOf gives the mark with which a line opens or ends a block of code.
func fenceOf(line string) string {
	for _, tick := range []string{"`", "~"} {
		if n := len(line) - len(strings.TrimLeft(line, tick)); n >= 3 {
			return strings.Repeat(tick, n)
		}
	}
	return ""
}

// readCommands reads the comments again and finds the commands that were not
// answered yet. Nothing is taken from a delivery.
func (p *previewing) readCommands(ctx context.Context, number int) error {
	all, err := p.f.List(ctx, number)
	if err != nil {
		return fmt.Errorf("comments: %w", err)
	}
	p.order = map[string]int{}
	for i, c := range all {
		p.order[c.ID] = i
		found := parseCommands(c.Body)
		if len(found) == 0 || strings.HasPrefix(c.Body, markerStart) {
			continue
		}
		subject := "command/" + c.ID
		if _, err := p.e.store.Said(ctx, p.conf.Name, subject); err == nil {
			continue
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if p.tooOld(c) {
			if err := p.e.store.Say(ctx, p.lease.Fence, p.conf.Name, subject, store.Said{ID: c.ID, Hash: "old"}); err != nil {
				return err
			}
			continue
		}
		for _, f := range found {
			cmd := command{comment: c, verb: f[0], arg: f[1]}
			if err := p.authorise(ctx, &cmd); err != nil {
				return err
			}
			p.comments = append(p.comments, cmd)
		}
	}
	return nil
}

// tooOld tells that a command counts no more: it was there before trueup was,
// or so long ago that the store may have forgotten that it was carried out.
func (p *previewing) tooOld(c forge.Comment) bool {
	age, kept := p.e.clock().Sub(c.At), time.Duration(p.cfg.Limits.KeepDays)*24*time.Hour
	return !p.known && age > oldCommand || age > kept/2
}

// authorise finds out who gave a command and whether they may. The error is
// for a forge that could not be asked.
func (p *previewing) authorise(ctx context.Context, c *command) error {
	var err error
	if c.who, err = p.e.people.OnForge(p.conf.Name, c.comment.Author); err != nil {
		c.allowed = err
		return nil
	}
	if c.comment.Edited {
		c.allowed = errors.New("the comment was edited, and who did is not known: write a new one")
		return nil
	}
	switch c.verb {
	case "plan", "apply", "unlock":
	default:
		return nil // approving is up to the rules, help is free
	}
	list := whoMay(p.conf.PullRequests.Commands)
	ok, err := c.who.Is(ctx, list)
	if err != nil && passing(err) {
		return err
	}
	if !ok {
		c.allowed = fmt.Errorf("commands here are for %s", strings.Join(list, ", "))
		if err != nil {
			c.allowed = fmt.Errorf("%w (%w)", c.allowed, err)
		}
	}
	return nil
}

// whoMay gives a list of people, or those who may write to the repository.
func whoMay(list []string) []string {
	if len(list) == 0 {
		return []string{"permission:write"}
	}
	return list
}

// vouch tells whether somebody trusted stands behind the head, so that code
// of the repository may run: its author, or whoever asked for a plan of it. A
// comment is about the head that was shown when it was written: one that was
// pushed meanwhile is another.
func (p *previewing) vouch(ctx context.Context) error {
	if p.Vouched == p.Facts.HeadCommit {
		return nil
	}
	trusted := whoMay(p.conf.PullRequests.Trusted)
	author, err := p.e.people.OnForge(p.conf.Name, p.Facts.Author)
	if err != nil {
		return nil //nolint:nilerr // nobody is trusted less than nobody
	}
	shown, err := p.shownPlans(ctx)
	if err != nil {
		return err
	}
	candidates := []identity.Person{author}
	for _, c := range p.comments {
		if c.verb == "plan" && c.allowed == nil && p.after(c, shown) {
			candidates = append(candidates, c.who)
		}
	}
	reviewers, err := p.approvers(ctx, shown)
	if err != nil {
		return err
	}
	for _, who := range append(candidates, reviewers...) {
		if p.Facts.Fork && who.Login == p.Facts.Author {
			continue // a fork's own word is not enough
		}
		ok, err := who.Is(ctx, trusted)
		if err != nil && passing(err) {
			return err
		}
		if ok {
			p.Vouched = p.Facts.HeadCommit
			return nil
		}
	}
	return nil
}

// carryOut answers the commands, each once.
func (p *previewing) carryOut(ctx context.Context) error {
	answers := map[string][]string{}
	refused := map[string]bool{}
	var order []string
	for _, c := range p.comments {
		id := c.comment.ID
		if _, ok := answers[id]; !ok {
			order = append(order, id)
			answers[id] = nil
		}
		text, err := p.do(ctx, c)
		var no refusedError
		switch {
		case errors.As(err, &no):
			refused[id] = true
			text = fmt.Sprintf("%s: %s", render.Code(strings.TrimSpace("trueup "+c.verb+" "+c.arg)), no.text)
		case err != nil:
			return err
		}
		if text != "" {
			answers[id] = append(answers[id], text)
		}
	}
	for _, id := range order {
		r := forge.Done
		if refused[id] {
			r = forge.Refused
		}
		m := forgeMessage{Kind: tellAnswer, Repository: p.conf.Name, Number: p.rec.Number, Comment: id, Reaction: r,
			Text: strings.Join(answers[id], "\n\n")}
		if err := p.e.tell(ctx, m); err != nil {
			return err
		}
		if err := p.e.fail("command done"); err != nil {
			return err
		}
		if err := p.e.store.Say(ctx, p.lease.Fence, p.conf.Name, "command/"+id, store.Said{ID: id, Hash: string(r)}); err != nil {
			return err
		}
	}
	p.comments = nil
	return nil
}

// refusedError is a command that is refused; its text is Markdown in which
// what people wrote is code.
type refusedError struct{ text string }

func (r refusedError) Error() string { return r.text }

func refusef(format string, args ...any) error { return refusedError{fmt.Sprintf(format, args...)} }

// do carries out one command and gives the answer in Markdown, "" where the
// reaction says it all.
func (p *previewing) do(ctx context.Context, c command) (string, error) {
	if c.allowed != nil {
		return "", refusef("not allowed: %s", render.Code(c.allowed.Error()))
	}
	if err := p.e.event(ctx, c.who.Actor, "pull.command", "", "", map[string]any{"repository": p.conf.Name, "number": p.rec.Number,
		"command": c.verb, "argument": c.arg, "url": c.comment.URL}); err != nil {
		return "", err
	}
	switch c.verb {
	case "plan":
		if p.Refused != "" {
			return "", refusef("this %s is not planned: %s", p.f.Info().Noun, render.Code(p.Refused))
		}
		return "", nil // it was planned on the way here
	case "approve":
		return p.approve(ctx, c)
	case "apply":
		return p.apply(ctx, c)
	case "unlock":
		return p.unlockCommand(ctx, c)
	case "help":
		return helpText(p.conf), nil
	}
	return "", refusef("there is no such command; `trueup help` lists them")
}

func helpText(conf *config.Repository) string {
	lines := []string{"| Command | Does |", "| --- | --- |",
		"| `trueup plan` | plans again, against the environments as they are now |",
		"| `trueup approve PLAN` | approves a plan, by its hash or its target |"}
	if conf.PullRequests.ApplyBeforeMerge {
		lines = append(lines, "| `trueup apply [TARGET]` | applies before the merge; the targets stay locked until merge or close |",
			"| `trueup unlock` | gives back the locks, and puts the base branch's state in force again |")
	}
	return strings.Join(append(lines, "| `trueup help` | this |"), "\n")
}

// offered lists the commands that make sense now.
func (e *Engine) offered(conf *config.Repository, p *pull) []string {
	out := []string{"`trueup plan`"}
	for _, t := range p.Targets {
		if t.Gate == GateApproval || t.Gate == GateGuard {
			out = append(out, "`trueup approve PLAN`")
			break
		}
	}
	if conf.PullRequests.ApplyBeforeMerge && conf.Signatures == nil && len(p.Targets) > 0 {
		out = append(out, "`trueup apply`")
	}
	if len(p.Locks) > 0 {
		out = append(out, "`trueup unlock`")
	}
	return append(out, "`trueup help`")
}
