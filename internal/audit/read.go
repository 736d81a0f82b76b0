package audit

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"crypto/sha256"

	"trueup.dev/trueup/internal/store"
)

// Exported is what a check of an export found.
type Exported struct {
	Head    Head  `json:"head"`
	Records int64 `json:"records"`
	First   int64 `json:"first,omitempty"`
	Last    int64 `json:"last,omitempty"`
	// Broken is the first thing that is not what it was; nil is none.
	Broken *store.AuditBreak `json:"broken,omitempty"`
}

// Read reads an export and hands on its records as they come. They are checked
// against the key; nil takes the one that the file names.
func Read(r io.Reader, key Key, each func(Record) error) (Exported, error) {
	x := &reader{dec: json.NewDecoder(r), key: key, each: each, sum: sha256.New()}
	if err := x.read(); err != nil {
		return x.out, fmt.Errorf("this is not an export of trueup audit, or it is cut short: %w", err)
	}
	return x.out, nil
}

type reader struct {
	dec  *json.Decoder
	key  Key
	each func(Record) error
	out  Exported
	sum  hash.Hash
	prev string
	end  tail
}

var errShape = errors.New("it has another shape")

// read takes the document apart: the head's fields, the records, the end.
func (x *reader) read() error {
	if err := x.open('{'); err != nil {
		return err
	}
	head := map[string]json.RawMessage{}
	sawRecords, sawEnd := false, false
	for x.dec.More() {
		name, err := x.dec.Token()
		if err != nil {
			return err
		}
		switch name {
		case "records":
			sawRecords = true
			err = x.records(head)
		case "end":
			sawEnd = true
			err = x.dec.Decode(&x.end)
		default:
			var v json.RawMessage
			err = x.dec.Decode(&v)
			head[fmt.Sprint(name)] = v
		}
		if err != nil {
			return err
		}
	}
	if _, err := x.dec.Token(); err != nil || !sawRecords || !sawEnd {
		return errors.Join(errShape, err)
	}
	return x.finish()
}

func (x *reader) open(d json.Delim) error {
	t, err := x.dec.Token()
	if err != nil {
		return err
	}
	if t != d {
		return errShape
	}
	return nil
}

func (x *reader) records(head map[string]json.RawMessage) error {
	body, err := json.Marshal(head)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, &x.out.Head); err != nil {
		return err
	}
	if x.out.Head.Trueup != "audit" || x.out.Head.Format != 1 {
		return errShape
	}
	if x.key == nil {
		if x.key, err = ParseKey(x.out.Head.Key); err != nil {
			return err
		}
	}
	if err := x.open('['); err != nil {
		return err
	}
	for x.dec.More() {
		var r Record
		if err := x.dec.Decode(&r); err != nil {
			return err
		}
		x.take(r)
		if x.each != nil {
			if err := x.each(r); err != nil {
				return err
			}
		}
	}
	_, err = x.dec.Token()
	return err
}

func (x *reader) take(r Record) {
	x.sum.Write([]byte(r.Hash + "\n"))
	x.out.Records++
	last := x.out.Last
	if x.out.First == 0 {
		x.out.First = r.Seq
	}
	x.out.Last = r.Seq
	if r.Hash == "" && x.prev == "" {
		return // from before there was a chain
	}
	want, err := Hash(r.Prev, r.Event)
	switch {
	case err != nil || want != r.Hash:
		x.fail(r.Seq, "its hash does not fit its content")
	case !x.key.Signed(r.Hash, r.Sig):
		x.fail(r.Seq, "it is not signed by the key")
	case last >= r.Seq:
		x.fail(r.Seq, "it is out of order")
	case x.out.Head.Gapless && x.prev != "" && (r.Prev != x.prev || r.Seq != last+1):
		x.fail(r.Seq, "records before it are missing")
	}
	x.prev = r.Hash
}

func (x *reader) fail(seq int64, why string) {
	if x.out.Broken == nil {
		x.out.Broken = &store.AuditBreak{Seq: seq, What: fmt.Sprintf("record %d", seq), Why: why}
	}
}

func (x *reader) finish() error {
	if x.out.Broken != nil {
		return nil
	}
	text, err := sealText(x.out.Head, x.end)
	if err != nil {
		return err
	}
	whole := ""
	switch {
	case x.end.Records != x.out.Records || x.end.Digest != hex.EncodeToString(x.sum.Sum(nil)):
		whole = "records were added, removed or moved"
	case !x.key.Signed(text, x.end.Sig):
		whole = "head or end were changed, or another key signed it"
	}
	if whole != "" {
		x.out.Broken = &store.AuditBreak{What: "the export as a whole", Why: whole}
	}
	return nil
}
