package driver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/driver"
)

func TestPermanent(t *testing.T) {
	err := fmt.Errorf("plan: %w", driver.Permanent(fmt.Errorf("spec: %w", io.ErrUnexpectedEOF)))
	if !driver.IsPermanent(err) || !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != "plan: spec: unexpected EOF" {
		t.Errorf("%v", err)
	}
	if driver.Permanent(nil) != nil || driver.IsPermanent(driver.ErrUnreachable) || driver.IsPermanent(nil) {
		t.Error("what is not permanent is said to be")
	}
	if !driver.IsPermanent(errors.Join(errors.New("other"), driver.Permanent(driver.ErrStale))) {
		t.Error("a permanent error among others is not found")
	}
}

type named struct {
	driver.Driver
	name string
}

func (n named) Info() driver.Info { return driver.Info{Name: n.name} }

func (named) Prepare(context.Context, driver.Input) (*driver.Prepared, error) { return nil, nil }

func TestRegistry(t *testing.T) {
	r, err := driver.NewRegistry(named{name: "b"}, named{name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if d, err := r.Get("a"); err != nil || d.Info().Name != "a" {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := r.Get("c"); err == nil || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("an unknown driver gives %v, it should list those there are", err)
	}
	if _, err := driver.NewRegistry(named{name: "a"}, named{name: "a"}); err == nil {
		t.Error("one name twice is no error")
	}
}
