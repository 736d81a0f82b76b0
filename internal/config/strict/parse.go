// Package strict reads YAML into Go values without forgiving anything: every
// unknown field, wrong type and double key is reported with file, line, column
// and field, all in one pass. It bounds what hostile input can cost.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/parser"
	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/plan"
)

// Bounds on one document. A manifest of 10,000 ordinary targets has 3 MB and
// 400,000 marks.
const (
	MaxBytes = 8 << 20
	maxMarks = 1_000_000 // structural characters, a ceiling on the nodes there can be
	maxNodes = 1_000_000 // nodes with aliases expanded
	maxDepth = 64
	maxFound = 200 // findings reported
)

// Node is a piece of a parsed document.
type Node = yaml.Node

// Parse reads one YAML document. The node is nil when the text is empty or
// wrong; the findings say why.
func Parse(file string, body []byte) (*Node, plan.Diagnostics) {
	var diags plan.Diagnostics
	at := plan.Source{File: file}
	if len(body) > MaxBytes {
		diags.Errorf(at, "", "split it into several files", "the file has %d bytes; at most %d are read", len(body), MaxBytes)
		return nil, diags
	}
	if n := marks(body); n > maxMarks {
		diags.Errorf(at, "", "split it into several files", "the file has about %d nodes; at most %d are read", n, maxMarks)
		return nil, diags
	}
	dec := yaml.NewDecoder(bytes.NewReader(body))
	var doc, next yaml.Node
	if err := safely(func() error { return dec.Decode(&doc) }); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, append(diags, syntax(file, body, err))
	}
	err := safely(func() error { return dec.Decode(&next) })
	switch {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, append(diags, syntax(file, body, err))
	default:
		at.Line, at.Column = next.Line, next.Column
		diags.Errorf(at, "", "keep one document in each file", "a second YAML document starts here")
		return nil, diags
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, nil
	}
	if diags = tooLarge(file, doc.Content[0]); len(diags) > 0 {
		return nil, diags
	}
	return doc.Content[0], nil
}

// marks counts the characters that can start a node.
func marks(body []byte) int {
	n := 0
	for _, c := range body {
		switch c {
		case ',', '\n', '[', '{', ':', '-', '?':
			n++
		}
	}
	return n
}

// safely turns a parser's panic into an error: the text comes from a
// repository, and a bug in a parser must not end the process.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the text can't be read as YAML: %v", p)
		}
	}()
	return f()
}

var (
	lineOf    = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)
	placeOf   = regexp.MustCompile(`^\[(\d+):(\d+)\] `)
	maxSecond = 1 << 20 // larger files are not parsed a second time
)

// syntax describes a syntax error. The fast parser knows the line at best; a
// second one is asked for the exact place and better words.
func syntax(file string, body []byte, cause error) plan.Diagnostic {
	d := plan.Diagnostic{Severity: plan.Error, Source: plan.Source{File: file}, Mend: "this is not valid YAML"}
	d.Message = strings.TrimPrefix(cause.Error(), "yaml: ")
	if m := lineOf.FindStringSubmatch(cause.Error()); m != nil {
		d.Line, _ = strconv.Atoi(m[1])
		d.Message = cause.Error()[len(m[0]):]
	}
	if len(body) > maxSecond {
		return d
	}
	err := safely(func() error { _, err := parser.ParseBytes(body, 0); return err })
	if err == nil {
		return d
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	if m := placeOf.FindStringSubmatch(first); m != nil {
		d.Line, _ = strconv.Atoi(m[1])
		d.Column, _ = strconv.Atoi(m[2])
		d.Message = first[len(m[0]):]
	}
	return d
}
