package exec

import (
	"bufio"
	"bytes"
	_ "embed" // the callback
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

const ansible Preset = "ansible"

// ansibleCallback makes ansible-playbook tell us its results; ansible-core
// alone has no output that programs can read.
//
//go:embed ansible_callback.py
var ansibleCallback []byte

const (
	dirCallback  = "callback"
	fileCallback = dirCallback + "/trueup_report.py"
)

func ansiblePreset() preset {
	return preset{needs: "inventory", fill: fillAnsible, read: readAnsible, write: map[string][]byte{fileCallback: ansibleCallback}}
}

func fillAnsible(c *Connect) {
	base := []string{"/usr/bin/ansible-playbook", "--diff", "-i", c.Inventory, "--extra-vars", "@{values}"}
	c.Plan = append(append([]string{}, base...), "--check", "{entry}")
	c.Apply = append(append([]string{}, base...), "{entry}")
	c.Env["ANSIBLE_CALLBACK_PLUGINS"] = "{base}/" + dirCallback
	c.Env["ANSIBLE_CALLBACKS_ENABLED"] = "trueup_report"
	c.Env["ANSIBLE_NOCOLOR"] = "1"
	c.Env["ANSIBLE_RETRY_FILES_ENABLED"] = "0"
	c.Env["ANSIBLE_NOCOWS"] = "1"
}

// ansibleLine is a line that the callback wrote.
type ansibleLine struct {
	Event   string          `json:"event"`
	Status  string          `json:"status"`
	Ignored bool            `json:"ignored"`
	Host    string          `json:"host"`
	Play    string          `json:"play"`
	Task    string          `json:"task"`
	Module  string          `json:"module"`
	Path    string          `json:"path"`
	Hidden  bool            `json:"hidden"`
	Changed bool            `json:"changed"`
	Diff    json.RawMessage `json:"diff"`
	Msg     string          `json:"msg"`
	Hosts   int             `json:"hosts"`
}

// readAnsible makes a change of each task that would change a host. A host that
// failed or could not be reached leaves the plan without its part: that is no
// plan.
func readAnsible(w *work, r ran) (*report, error) {
	raw, err := w.read(fileReport)
	if err != nil {
		return nil, err
	}
	out := &report{Version: 1, Changes: []reported{}}
	times := map[string]int{}
	whole, hosts := false, 0
	sc := bufio.NewScanner(bytes.NewReader(raw))
	sc.Buffer(nil, maxOutput)
	for sc.Scan() {
		var l ansibleLine
		if err := strict(sc.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("the report of ansible-playbook: %w", err)
		}
		switch {
		case l.Event == "end":
			whole, hosts = true, l.Hosts
		case (l.Status == "failed" && !l.Ignored) || l.Status == "unreachable":
			return nil, fmt.Errorf("%s: %s: %s: %s", l.Host, l.Task, l.Status, w.scrub.text(l.Msg))
		default:
			name := fmt.Sprintf("%s/%s/%s", l.Host, l.Play, l.Task)
			if times[name]++; times[name] > 1 {
				name += "#" + strconv.Itoa(times[name])
			}
			if l.Status == "ok" && l.Changed {
				out.Changes = append(out.Changes, w.ansibleChange(name, &l))
			}
		}
	}
	switch {
	case sc.Err() != nil:
		return nil, fmt.Errorf("the report of ansible-playbook: %w", sc.Err())
	case r.status != 0:
		return nil, r.failure("ansible-playbook")
	case !whole:
		return nil, errors.New("ansible-playbook ended without a report: " + r.tail)
	case hosts == 0:
		return nil, errors.New("the playbook matched no host: an empty inventory is taken for a mistake")
	}
	return out, nil
}

func (w *work) ansibleChange(name string, l *ansibleLine) reported {
	c := reported{object: object{plan.Address(clean(name)), l.Module}, Action: plan.Update, Simulated: true,
		Impact: []plan.Impact{{Class: "task", Update: 1}}, Source: w.source(l.Path)}
	if l.Hidden {
		c.Note = "no_log: what it changes is hidden"
		return c
	}
	c.Before, c.After = ansibleDiff(l.Diff)
	return c
}

// source makes a place in the repository of "FILE:LINE" in the working copy.
func (w *work) source(at string) plan.Source {
	rest, ok := strings.CutPrefix(at, w.file(dirRoot)+"/")
	if !ok {
		return plan.Source{}
	}
	file, line, _ := strings.Cut(rest, ":")
	n, err := strconv.Atoi(line)
	if err != nil {
		n = 0
	}
	return plan.Source{File: file, Line: n}
}

// ansibleDiff takes a module's diff apart: one document, or a list of them,
// with before and after each; some modules give a prepared text alone.
func ansibleDiff(raw json.RawMessage) (before, after json.RawMessage) {
	type part struct {
		Before       any    `json:"before"`
		After        any    `json:"after"`
		BeforeHeader string `json:"before_header"`
		AfterHeader  string `json:"after_header"`
		Prepared     string `json:"prepared"`
	}
	var list []part
	if json.Unmarshal(raw, &list) != nil {
		var one part
		if json.Unmarshal(raw, &one) != nil {
			return nil, nil
		}
		list = []part{one}
	}
	var b, a []any
	for _, p := range list {
		switch {
		case p.Prepared != "":
			a = append(a, p.Prepared)
		case p.Before != nil || p.After != nil:
			b, a = append(b, p.Before), append(a, p.After)
		}
	}
	return shorten(b), shorten(a)
}

func shorten(list []any) json.RawMessage {
	var v any = list
	switch len(list) {
	case 0:
		return nil
	case 1:
		v = list[0]
	}
	doc, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return doc
}
