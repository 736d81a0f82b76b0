package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// semantic is the part of a change that an approval binds.
type semantic struct {
	Key
	Kind      string          `json:"kind,omitempty"`
	Action    Action          `json:"action"`
	Reason    Reason          `json:"reason,omitempty"`
	From      Address         `json:"from,omitempty"`
	Before    json.RawMessage `json:"before,omitempty"`
	After     json.RawMessage `json:"after,omitempty"`
	Sensitive []string        `json:"sensitive,omitempty"`
	Unknown   []string        `json:"unknown,omitempty"`
	Impact    []Impact        `json:"impact,omitempty"`
	Simulated bool            `json:"simulated,omitempty"`
	Conflict  string          `json:"conflict,omitempty"`
}

// Hash is the hex SHA-256 over the canonical JSON of the inputs digest, the
// mode, the realms and the sorted semantic changes. Times, run ids, bases,
// artefacts, notes and line numbers do not count, so that the same change
// planned twice has the same hash.
func (p *Plan) Hash() (string, error) {
	changes := make([]semantic, len(p.Changes))
	for i := range p.Changes {
		c := &p.Changes[i]
		s := semantic{Key: c.Key, Kind: c.Kind, Action: c.Action, Reason: c.Reason, From: c.From,
			Sensitive: slices.Sorted(slices.Values(c.Sensitive)), Unknown: slices.Sorted(slices.Values(c.Unknown)),
			Impact: c.Impact, Simulated: c.Simulated, Conflict: c.Conflict}
		var err error
		if s.Before, err = Canonical(c.Before); err != nil {
			return "", fmt.Errorf("%s: before: %w", c.Key, err)
		}
		if s.After, err = Canonical(c.After); err != nil {
			return "", fmt.Errorf("%s: after: %w", c.Key, err)
		}
		changes[i] = s
	}
	slices.SortFunc(changes, func(a, b semantic) int {
		if n := a.Key.Compare(b.Key); n != 0 {
			return n
		}
		return bytes.Compare([]byte(a.Action), []byte(b.Action))
	})
	realms := map[Scope]string{}
	for _, s := range p.Scopes {
		if s.Unknown == "" {
			realms[s.Scope] = s.Realm
		}
	}
	body, err := json.Marshal(struct {
		Target  string           `json:"target"`
		Driver  string           `json:"driver"`
		Digest  string           `json:"digest"`
		Mode    Mode             `json:"mode"`
		Realms  map[Scope]string `json:"realms"`
		Changes []semantic       `json:"changes"`
	}{p.Target, p.Driver, p.Digest, p.Mode, realms, changes})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}

// Canonical gives a JSON document with sorted keys, no spaces and numbers as
// they were written. An empty document stays empty.
func Canonical(doc json.RawMessage) (json.RawMessage, error) {
	if len(doc) == 0 {
		return nil, nil
	}
	v, err := decode(doc)
	if err != nil {
		return nil, err
	}
	return encode(v)
}

func decode(doc json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the document")
	}
	return v, nil
}

func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
