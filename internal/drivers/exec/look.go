package exec

import (
	"context"
	"encoding/json"
	"fmt"

	"trueup.dev/trueup/internal/plan"
)

// kindTool is the kind of the one object that a tool without a plan has.
const kindTool = "target"

// statusOut is how a check says that something is out of sync.
const statusOut = 2

// blind tells that the tool can't say what it would do, nor what it did.
func (s *session) blind() bool {
	return len(s.connect.Plan) == 0 && len(s.connect.Check) == 0
}

// look finds out what would change, by whatever the environment declares.
func (w *work) look(ctx context.Context) (*report, error) {
	c := w.s.connect
	switch {
	case len(c.Plan) > 0:
		r, err := w.run(ctx, "plan", nil)
		if err != nil {
			return nil, err
		}
		if p, ok := presets[c.Preset]; ok {
			return p.read(w, r)
		}
		if r.status != 0 {
			return nil, r.failure("plan")
		}
		return decodeReport(r.out)
	case len(c.Check) > 0:
		r, err := w.run(ctx, "check", nil)
		switch {
		case err != nil:
			return nil, err
		case r.status == 0:
			return w.single(true, "")
		case r.status == statusOut:
			return w.single(false, "check says that something is out of sync; what exactly, only the tool knows")
		}
		return nil, r.failure("check")
	}
	digest, err := w.inputs()
	if err != nil {
		return nil, err
	}
	o, ours := w.in.Inventory[w.singleKey()]
	same := ours && !o.Pending && o.Hash == w.s.hash("object", digest)
	return w.single(same, "the tool has neither plan nor check: it runs when its inputs change, and drift is not seen")
}

func (w *work) singleKey() plan.Key { return plan.Key{Address: plan.Address(w.in.Path)} }

// single makes a report of a tool that knows in sync and out of sync alone.
func (w *work) single(inSync bool, note string) (*report, error) {
	self := object{Address: w.singleKey().Address, Kind: kindTool}
	r := &report{Version: 1}
	if inSync {
		r.Objects = &[]object{self}
		return r, nil
	}
	digest, err := w.inputs()
	if err != nil {
		return nil, err
	}
	action := plan.Create
	if _, ours := w.in.Inventory[w.singleKey()]; ours {
		action = plan.Update
	}
	r.Changes = []reported{{object: self, Action: action, After: digest, Simulated: true, Note: note, Source: plan.Source{File: w.in.Path}}}
	return r, nil
}

// inputs stands for all that the commands are given: files and values.
func (w *work) inputs() (json.RawMessage, error) {
	sums, err := w.sums()
	if err != nil {
		return nil, err
	}
	values, err := w.read(fileValues)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{"inputs": w.s.hash("inputs", append([][]byte{values}, sums...)...)})
}

// outputs runs the outputs command.
func (w *work) outputs(ctx context.Context) (map[string]plan.Output, error) {
	r, err := w.run(ctx, "outputs", nil)
	if err != nil {
		return nil, err
	}
	if r.status != 0 {
		return nil, r.failure("outputs")
	}
	if p, ok := presets[w.s.connect.Preset]; ok && p.outputs != nil {
		return p.outputs(r.out)
	}
	var out map[string]plan.Output
	if err := strict(r.out, &out); err != nil {
		return nil, fmt.Errorf("what outputs printed is not the JSON of the contract: %w", err)
	}
	var d plan.Diagnostics
	checkOutputs(&d, "outputs", out)
	return out, d.Err()
}
