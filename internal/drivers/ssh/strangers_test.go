package ssh

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/plan"
)

// TestProjectOfOthers: up would replace and remove the containers of another
// project of the same name.
func TestProjectOfOthers(t *testing.T) {
	for _, c := range []struct {
		said   string
		reason plan.Reason
		runs   bool
	}{
		{"= 0\n", plan.ByPrune, true},
		{"db running\n= 0\n", plan.ByPrune, false},
		{"db exited\n= 0\n", plan.ByPrune, false},
		{"db running\n= 0\n", plan.ByDrift, true}, // its file was removed by hand
	} {
		key := plan.Key{Address: "compose:shop"}
		w := &writer{script: newScript(), ids: map[plan.Key]int{key: 0}, host: &host{compose: []string{"docker", "compose"},
			answer: &answer{parts: map[string][]byte{markName(key.Address): []byte(c.said)}}}}
		state := &composeState{Dir: "/srv/compose/shop", Content: "x", program: []string{"docker", "compose"}}
		(composeKind{}).write(w, []step{{New: &item{Value: &object{State: state}}, Change: plan.Change{Key: key, Action: plan.Create, Reason: c.reason}}})
		if runs := strings.Contains(w.String(), " up -d"); runs != c.runs {
			t.Errorf("%+v: %s", c, w.String()[len(kindsLib):])
		}
	}
}

// TestUnitThatChangedStays: a unit's file that somebody changed since it was
// read is not removed, and the unit is not stopped.
func TestUnitThatChangedStays(t *testing.T) {
	w := &writer{script: newScript(), ids: map[plan.Key]int{}}
	w.unitGoes(step{Old: &item{Value: &object{State: &unitState{sum: "0123"}}}, Change: plan.Change{Key: plan.Key{Address: "unit:app.service"}}})
	sum, stop := strings.Index(w.String(), "sum 0123 ./app.service"), strings.Index(w.String(), "systemctl disable")
	if sum < 0 || stop < sum {
		t.Error(w.String())
	}
}
