package exec

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"trueup.dev/trueup/internal/plan"
)

const dnscontrol Preset = "dnscontrol"

func dnscontrolPreset() preset { return preset{fill: fillDNSControl, read: readDNSControl} }

func fillDNSControl(c *Connect) {
	base := []string{"/usr/local/bin/dnscontrol", "--no-colors"}
	c.Plan = append(append([]string{}, base...), "preview", "--config", "{entry}", "--report", "{report}")
	c.Apply = append(append([]string{}, base...), "push", "--config", "{entry}", "--report", "{report}")
}

// readDNSControl reads the report of a preview. It counts the corrections of
// each domain and provider; the words for them are in the output.
func readDNSControl(w *work, r ran) (*report, error) {
	if r.status != 0 {
		return nil, fmt.Errorf("%w: %s", r.failure("dnscontrol preview"), w.scrub.text(clip(clean(string(r.out)))))
	}
	raw, err := w.read(fileReport)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, errors.New("dnscontrol preview wrote no report")
	}
	var items []struct {
		Domain      string `json:"domain"`
		Corrections int    `json:"corrections"`
		Provider    string `json:"provider"`
		Registrar   string `json:"registrar"`
	}
	if err := strict(raw, &items); err != nil {
		return nil, fmt.Errorf("the report of dnscontrol preview: %w", err)
	}
	if len(items) == 0 {
		return nil, errors.New("the report of dnscontrol preview names no domain: a configuration without domains is taken for a mistake")
	}
	out := &report{Version: 1, Objects: &[]object{}}
	for _, it := range items {
		o := object{Address: plan.Address(it.Domain + "/" + cmp.Or(it.Provider, it.Registrar)), Kind: "domain"}
		if it.Domain == "" || it.Corrections < 0 {
			return nil, fmt.Errorf("the report of dnscontrol preview holds %+v", it)
		}
		if it.Corrections == 0 {
			*out.Objects = append(*out.Objects, o)
			continue
		}
		doc, err := json.Marshal(map[string]int{"corrections": it.Corrections})
		if err != nil {
			return nil, err
		}
		out.Changes = append(out.Changes, reported{object: o, Action: plan.Update, After: doc, Simulated: true, Note: w.scrub.text(clip(string(r.out))),
			Impact: []plan.Impact{{Class: "record", Update: it.Corrections}}})
	}
	var d plan.Diagnostics
	out.check(&d)
	return out, d.Err()
}

// clip bounds a text to what a note may hold.
func clip(t string) string {
	if len(t) > maxNote {
		return t[:maxNote-3] + "…"
	}
	return t
}
