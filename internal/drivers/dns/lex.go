package dns

import (
	"errors"
	"strings"
)

// token is one word of a zone file, as it stands there, quotes included.
type token struct {
	text  string
	line  int
	glued bool // follows the token before without a space, as in alpn="h2"
}

// entry is one logical line of a zone file: a directive or a record.
type entry struct {
	line   int
	blank  bool // starts with white space: the owner is the one before
	tokens []token
}

// lexer cuts a zone file (RFC 1035 section 5.1) into entries. After a mistake
// it goes on with the next line, so that all mistakes of a file are found.
type lexer struct {
	text string
	pos  int
	line int
	end  int // of the last token
	room []token
}

func newLexer(text string) *lexer { return &lexer{text: text, line: 1} }

// next gives the next entry; ok is false at the end of the file. The entry's
// tokens are valid until the next call.
func (l *lexer) next() (e entry, ok bool, err error) {
	for l.pos < len(l.text) {
		e = entry{line: l.line, blank: l.text[l.pos] == ' ' || l.text[l.pos] == '\t', tokens: l.room[:0]}
		pos, line := l.pos, l.line
		err = l.entry(&e)
		l.room = e.tokens
		if err != nil {
			// The mistake is in the first line; those behind it may be sound.
			l.pos, l.line = pos, line
			l.skipLine()
			return e, true, err
		}
		if len(e.tokens) > 0 {
			e.line = e.tokens[0].line
			return e, true, nil
		}
	}
	return entry{}, false, nil
}

func (l *lexer) skipLine() {
	if i := strings.IndexByte(l.text[l.pos:], '\n'); i >= 0 {
		l.pos += i + 1
		l.line++
		return
	}
	l.pos = len(l.text)
}

func (l *lexer) entry(e *entry) error {
	depth := 0
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; c {
		case ' ', '\t', '\r':
			l.pos++
		case '\n':
			l.pos++
			l.line++
			if depth == 0 {
				return nil
			}
		case ';':
			if i := strings.IndexByte(l.text[l.pos:], '\n'); i >= 0 {
				l.pos += i
			} else {
				l.pos = len(l.text)
			}
		case '(':
			depth++
			l.pos++
		case ')':
			if depth--; depth < 0 {
				return errors.New("a closing parenthesis with no opening one")
			}
			l.pos++
		default:
			if err := l.word(e); err != nil {
				return err
			}
		}
	}
	if depth > 0 {
		return errors.New("an opening parenthesis is never closed")
	}
	return nil
}

// word reads one token; a quoted part keeps its quotes.
func (l *lexer) word(e *entry) error {
	start, quoted := l.pos, false
	glued := l.pos > 0 && l.pos == l.end && len(e.tokens) > 0
	defer func() { l.end = l.pos }()
	for ; l.pos < len(l.text); l.pos++ {
		c := l.text[l.pos]
		switch {
		case c == '\\':
			if l.pos++; l.pos >= len(l.text) || l.text[l.pos] == '\n' {
				return errors.New("a backslash at the end of the line")
			}
		case c == '"':
			quoted = !quoted
			if !quoted {
				l.pos++
				e.tokens = append(e.tokens, token{text: l.text[start:l.pos], line: l.line, glued: glued})
				return nil
			}
			if l.pos > start {
				e.tokens = append(e.tokens, token{text: l.text[start:l.pos], line: l.line, glued: glued})
				start, glued = l.pos, true
			}
		case c == '\n' && quoted:
			return errors.New("a quote is never closed")
		case quoted:
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ';' || c == '(' || c == ')':
			e.tokens = append(e.tokens, token{text: l.text[start:l.pos], line: l.line, glued: glued})
			return nil
		}
	}
	if quoted {
		return errors.New("a quote is never closed")
	}
	e.tokens = append(e.tokens, token{text: l.text[start:l.pos], line: l.line, glued: glued})
	return nil
}
