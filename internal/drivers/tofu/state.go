package tofu

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/driver"
)

var lockID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// State lists, moves and takes out what the target's state holds, gives a lock
// free, and brings a rescued state back. The program itself checks addresses
// and takes the state's lock.
func (s *session) State(ctx context.Context, in driver.Input, op driver.StateOp) (driver.StateResult, error) {
	var res driver.StateResult
	args, err := stateArgs(op, s.c.lockTimeout().String())
	if err != nil {
		return res, driver.Permanent(err)
	}
	if op.Verb != "list" && s.purpose == driver.Read {
		return res, driver.Permanent(errors.New("the session was opened to read"))
	}
	w, err := s.open(ctx, in)
	if err != nil {
		return res, err
	}
	defer w.close()
	if err := w.initialise(ctx, false); err != nil {
		return res, w.scrub.err(err)
	}
	if op.Verb == "recover" {
		res.Message, err = w.recover(ctx)
		return res, w.scrub.err(err)
	}
	if err := w.rescued(); err != nil && op.Verb != "list" && op.Verb != "force-unlock" {
		return res, err
	}
	r, err := w.start(ctx, invocation{args: args})
	if err != nil {
		return res, w.explain("state "+op.Verb, err)
	}
	out := strings.TrimSpace(w.scrub.text(string(r.out)))
	if op.Verb == "list" {
		res.Addresses = strings.FieldsFunc(out, func(c rune) bool { return c == '\n' })
		return res, nil
	}
	res.Message = out
	return res, nil
}

func stateArgs(op driver.StateOp, timeout string) ([]string, error) {
	want := map[string]int{"list": 0, "recover": 0, "mv": 2, "rm": 1, "force-unlock": 1}
	n, known := want[op.Verb]
	switch {
	case !known:
		return nil, fmt.Errorf("%q is no operation on a state; there are list, mv, rm, force-unlock and recover", op.Verb)
	case len(op.Args) < n || len(op.Args) > n && op.Verb != "rm":
		return nil, fmt.Errorf("state %s takes %d arguments, not %d", op.Verb, n, len(op.Args))
	}
	for _, a := range op.Args {
		if a == "" || strings.HasPrefix(a, "-") || strings.ContainsAny(a, "\n\x00") {
			return nil, fmt.Errorf("%q is no address", a)
		}
	}
	switch op.Verb {
	case "force-unlock":
		if !lockID.MatchString(op.Args[0]) {
			return nil, fmt.Errorf("%q is no lock's id", op.Args[0])
		}
		return []string{"force-unlock", "-force", op.Args[0]}, nil
	case "list":
		return []string{"state", "list"}, nil
	}
	return append([]string{"state", op.Verb, "-lock-timeout=" + timeout}, op.Args...), nil
}
