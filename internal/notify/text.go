package notify

import (
	"fmt"
	"maps"
	"mime"
	"slices"
	"strings"
	"unicode"
)

// Title is a message's headline: "held: infra/zone in dns-public".
func Title(m Message) string {
	s := m.Kind + ": " + m.Target
	if m.Environment != "" {
		s += " in " + m.Environment
	}
	return fmt.Sprintf("[trueup] %s", s)
}

// Messages repeat texts from repositories, which must not call people or
// channels: Slack marks those with <…>, others with @….
var (
	slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	quiet       = strings.NewReplacer("@everyone", "@\u200beveryone", "@here", "@\u200bhere", "@channel", "@\u200bchannel", "@all", "@\u200ball")
)

// oneLine drops control characters: a title becomes a mail header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// encodedWord writes a title as mail headers want it (RFC 2047).
func encodedWord(s string) string { return mime.QEncoding.Encode("utf-8", s) }

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
