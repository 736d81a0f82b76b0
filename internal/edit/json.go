package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// findJSON walks the tokens to a value and finds its bytes.
func findJSON(body []byte, f Field) (span, error) {
	steps, err := f.steps()
	if err != nil {
		return span{}, fmt.Errorf("%s: %w", f, err)
	}
	if !json.Valid(body) {
		return span{}, fmt.Errorf("%s: the file is no JSON", f)
	}
	w := &walker{body: body}
	from, to, err := w.walk(0, len(body), steps)
	if err != nil {
		return span{}, fmt.Errorf("%s: %w", f, err)
	}
	d := json.NewDecoder(bytes.NewReader(body[from:to]))
	d.UseNumber()
	tok, err := d.Token()
	if err != nil {
		return span{}, fmt.Errorf("%s: %w", f, err)
	}
	sp := span{from: from, to: to, json: true}
	switch v := tok.(type) {
	case string:
		sp.Value, sp.quote = Value{Text: v, Kind: String}, '"'
	case json.Number:
		sp.Value = Value{Text: v.String(), Kind: Number}
	case bool:
		sp.Value = Value{Text: strconv.FormatBool(v), Kind: Bool}
	default:
		return span{}, fmt.Errorf("%s: %w: it is no text, number or truth value", f, ErrForm)
	}
	return sp, nil
}

type walker struct{ body []byte }

// item is an entry of an object or a list.
type item struct {
	key      string
	from, to int
}

// walk goes down into the value between two offsets.
func (w *walker) walk(from, to int, steps []step) (int, int, error) {
	from, to = w.trim(from, to)
	if len(steps) == 0 {
		return from, to, nil
	}
	s := steps[0]
	items, list, err := w.items(from, to)
	if err != nil {
		return 0, 0, err
	}
	found := -1
	for i, it := range items {
		switch {
		case !list && !s.list && !s.match && it.key == s.key:
			if found >= 0 {
				return 0, 0, fmt.Errorf("%w: the key %q stands twice", ErrForm, s.key)
			}
			found = i
		case list && (s.list || s.either) && i == s.index:
			found = i
		case list && s.match && w.has(it, s):
			if found >= 0 {
				return 0, 0, fmt.Errorf("%w: two entries have %s: %s", ErrForm, s.where, s.is)
			}
			found = i
		}
	}
	if found < 0 {
		return 0, 0, fmt.Errorf("%w (at %s)", ErrMissing, s)
	}
	return w.walk(items[found].from, items[found].to, steps[1:])
}

func (w *walker) has(it item, s step) bool {
	var o map[string]any
	if json.Unmarshal(w.body[it.from:it.to], &o) != nil {
		return false
	}
	v, ok := o[s.where]
	return ok && fmt.Sprint(v) == s.is
}

func (w *walker) trim(from, to int) (int, int) {
	space := func(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',' || c == ':' }
	for from < to && space(w.body[from]) {
		from++
	}
	for to > from && space(w.body[to-1]) {
		to--
	}
	return from, to
}

// items lists the entries of the object or list between two offsets.
func (w *walker) items(from, to int) (out []item, list bool, err error) {
	d := json.NewDecoder(bytes.NewReader(w.body[from:to]))
	tok, err := d.Token()
	if err != nil {
		return nil, false, err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil, false, ErrMissing
	}
	list = open == '['
	for d.More() {
		var it item
		if !list {
			tok, err := d.Token()
			if err != nil {
				return nil, list, err
			}
			it.key, _ = tok.(string)
		}
		start := from + int(d.InputOffset())
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil && !errors.Is(err, io.EOF) {
			return nil, list, err
		}
		it.from, it.to = w.trim(start, from+int(d.InputOffset()))
		out = append(out, it)
	}
	return out, list, nil
}
