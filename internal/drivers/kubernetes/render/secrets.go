package render

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lengths that decide how a secret is looked for. A shorter one counts only
// where it stands as a word: "ab" is part of half of all texts.
const (
	minInside = 4
	minLine   = 8
	// minHint is how much of a secret's beginning a message may show.
	minHint = 5
)

// secrets are texts that must not show: what was decrypted, what a sensitive
// output gave. They are found again in whatever form templates leave them in:
// inside other texts, in base64, as JSON or in a URL.
type secrets struct {
	inside map[string]bool // found anywhere
	words  map[string]bool // found as words and whole values
	// exact are values too common to look for elsewhere, by the file that had
	// them: true, 3.
	exact map[string]map[string]bool
	all   *strings.Replacer
}

func newSecrets() *secrets {
	return &secrets{inside: map[string]bool{}, words: map[string]bool{}, exact: map[string]map[string]bool{}}
}

func (s *secrets) empty() bool { return len(s.inside) == 0 && len(s.words) == 0 && len(s.exact) == 0 }

// add remembers every leaf of a value that a file or an output held.
func (s *secrets) add(file string, value any) {
	leaves(value, "", func(_ string, leaf any) {
		text := fmt.Sprint(leaf)
		if s.exact[file] == nil {
			s.exact[file] = map[string]bool{}
		}
		s.exact[file][text] = true
		switch leaf.(type) {
		case string:
			s.text(text)
		case bool:
		default:
			s.words[number(leaf)] = true
		}
	})
	s.all = nil
}

func (s *secrets) text(text string) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || trimmed == "true" || trimmed == "false" {
		return
	}
	if utf8.RuneCountInString(trimmed) < minInside {
		s.words[trimmed] = true
		return
	}
	for _, form := range []string{text, trimmed, quoted(trimmed), url.QueryEscape(trimmed), url.PathEscape(trimmed)} {
		s.inside[form] = true
	}
	if !strings.Contains(trimmed, "\n") {
		return
	}
	for line := range strings.Lines(trimmed) { // templates indent what has lines
		if line = strings.TrimSpace(line); len(line) >= minLine {
			s.inside[line] = true
			s.inside[quoted(line)] = true
		}
	}
}

// quoted gives a text as it stands within a JSON string.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return strings.Trim(string(b), `"`)
}

func number(leaf any) string {
	if f, ok := leaf.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(leaf)
}

// holds tells whether a value of an object shows a secret. file is where the
// object comes from.
func (s *secrets) holds(file string, leaf any) bool {
	text, isText := leaf.(string)
	if !isText {
		text = number(leaf)
		return s.words[text] || s.exact[file][fmt.Sprint(leaf)]
	}
	return s.exact[file][text] || s.within(text, 3)
}

var base64Run = regexp.MustCompile(`[A-Za-z0-9+/_-]{6,}={0,2}`)

// within looks into a text, and into what is encoded in it.
func (s *secrets) within(text string, depth int) bool {
	for form := range s.inside {
		if strings.Contains(text, form) {
			return true
		}
	}
	for w := range s.words {
		if hasWord(text, w) {
			return true
		}
	}
	if depth == 0 {
		return false
	}
	for _, run := range base64Run.FindAllString(text, -1) {
		if plain, ok := fromBase64(run); ok && s.within(plain, depth-1) {
			return true
		}
	}
	return false
}

func fromBase64(run string) (string, bool) {
	run = strings.TrimRight(run, "=")
	enc := base64.RawStdEncoding
	if strings.ContainsAny(run, "-_") {
		enc = base64.RawURLEncoding
	}
	b, err := enc.DecodeString(run)
	return string(b), err == nil
}

func hasWord(text, w string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], w)
		if i < 0 {
			return false
		}
		i += from
		before, _ := utf8.DecodeLastRuneInString(text[:i])
		after, _ := utf8.DecodeRuneInString(text[i+len(w):])
		if !wordRune(before) && !wordRune(after) {
			return true
		}
		from = i + 1
	}
}

func wordRune(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

// scrub takes secrets out of a message. One that shows the beginning of a
// secret, as libraries shorten what they quote, is left out as a whole.
func (s *secrets) scrub(text string) string {
	if s.empty() {
		return text
	}
	if s.all == nil {
		var pairs []string
		for form := range s.inside {
			pairs = append(pairs, form, "***")
		}
		s.all = strings.NewReplacer(pairs...)
	}
	text = s.all.Replace(text)
	for form := range s.inside {
		if r := []rune(form); len(r) > minHint && strings.Contains(text, string(r[:minHint])) {
			return "the text of this mistake is left out: it quotes what may be a secret"
		}
	}
	for w := range s.words {
		if hasWord(text, w) {
			return "the text of this mistake is left out: it quotes what may be a secret"
		}
	}
	if s.within(text, 2) {
		return "the text of this mistake is left out: it quotes what may be a secret"
	}
	return text
}
