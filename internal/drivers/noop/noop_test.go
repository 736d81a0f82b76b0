package noop_test

import (
	"testing"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/noop"
	"trueup.dev/trueup/internal/plan"
)

func TestNoop(t *testing.T) {
	d := noop.New()
	s, err := d.Open(t.Context(), driver.Environment{}, driver.Write)
	if err != nil {
		t.Fatal(err)
	}
	in := driver.Input{Target: "t", Path: "p", Mode: plan.Apply}
	for _, changes := range []int{1, 0} {
		p, err := s.Plan(t.Context(), in)
		if err != nil || len(p.Changes) != changes || p.Writes() {
			t.Fatalf("%+v, %v", p, err)
		}
		j := drivertest.NewJournal(in.Inventory, p)
		if err := s.Apply(t.Context(), in, p, j); err != nil {
			t.Fatal(err)
		}
		in.Inventory = j.Inventory()
	}
	if _, planned, applied := d.Counts(); planned != 2 || applied != 2 {
		t.Errorf("%d plans, %d applies", planned, applied)
	}
}
