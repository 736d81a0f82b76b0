package dns

import (
	"errors"
	"fmt"
	"strings"
)

// Names are kept as lower-case, fully qualified presentation text, with the
// escapes of RFC 4343 section 2.1 where a byte needs one, so that one name has
// one spelling.

var errName = errors.New("not a domain name")

// plainByte tells the bytes that need no escape and that are the same in both
// forms once they are lower-case.
func plainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '*' || c == '/'
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// appendName appends the wire form of a presentation name, lower-cased. A
// relative name is completed by origin, which is in presentation form too.
func appendName(buf []byte, text, origin string) ([]byte, error) {
	start := len(buf)
	switch text {
	case "":
		return buf, fmt.Errorf("empty name: %w", errName)
	case ".":
		return append(buf, 0), nil
	case "@":
		text = origin
	}
	buf, absolute, err := appendLabels(buf, text)
	if err != nil {
		return buf[:start], err
	}
	if !absolute && origin != "." && text != origin {
		if buf, _, err = appendLabels(buf, origin); err != nil {
			return buf[:start], err
		}
	}
	if buf = append(buf, 0); len(buf)-start > 255 {
		return buf[:start], fmt.Errorf("%q is longer than 255 bytes: %w", text, errName)
	}
	return buf, nil
}

func appendLabels(buf []byte, text string) ([]byte, bool, error) {
	if text == "." {
		return buf, true, nil
	}
	at := len(buf)
	buf = append(buf, 0)
	dot := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		dot = c == '.'
		switch {
		case dot:
			if n := len(buf) - at - 1; n == 0 || n > 63 {
				return buf, false, fmt.Errorf("%q has a label of %d bytes (1 to 63 are allowed): %w", text, n, errName)
			}
			buf[at] = byte(len(buf) - at - 1)
			at = len(buf)
			buf = append(buf, 0)
			continue
		case c == '\\':
			b, used, ok := unescape(text[i:])
			if !ok {
				return buf, false, fmt.Errorf("%q has a bad escape: %w", text, errName)
			}
			c = b
			i += used - 1
		}
		buf = append(buf, lower(c))
	}
	if dot {
		return buf[:at], true, nil
	}
	n := len(buf) - at - 1
	if n == 0 || n > 63 {
		return buf, false, fmt.Errorf("%q has a label of %d bytes (1 to 63 are allowed): %w", text, n, errName)
	}
	buf[at] = byte(n)
	return buf, false, nil
}

// unescape reads \DDD or \X at the start of s.
func unescape(s string) (c byte, used int, ok bool) {
	if len(s) < 2 {
		return 0, 0, false
	}
	if s[1] < '0' || s[1] > '9' {
		return s[1], 2, true
	}
	if len(s) < 4 || s[2] < '0' || s[2] > '9' || s[3] < '0' || s[3] > '9' {
		return 0, 0, false
	}
	n := int(s[1]-'0')*100 + int(s[2]-'0')*10 + int(s[3]-'0')
	return byte(n), 4, n < 256
}

// readName reads a wire name, following compression pointers, and appends its
// lower-case presentation to dst. It gives the offset behind the name.
func readName(dst, msg []byte, off int) ([]byte, int, error) {
	end, jumps, start := -1, 0, len(dst)
	for {
		if off >= len(msg) {
			return dst, 0, errShort
		}
		n := int(msg[off])
		off++
		switch {
		case n == 0:
			if len(dst) == start {
				dst = append(dst, '.')
			}
			if end < 0 {
				end = off
			}
			return dst, end, nil
		case n < 64:
			if off+n > len(msg) {
				return dst, 0, errShort
			}
			dst = appendLabelText(dst, msg[off:off+n])
			off += n
		case n >= 192 && off < len(msg):
			if end < 0 {
				end = off + 1
			}
			off = (n&63)<<8 | int(msg[off])
			if jumps++; jumps > 126 {
				return dst, 0, fmt.Errorf("compression loop: %w", errMessage)
			}
		default:
			return dst, 0, errMessage
		}
		if len(dst)-start > 1024 {
			return dst, 0, errMessage
		}
	}
}

func appendLabelText(dst, label []byte) []byte {
	for _, c := range label {
		c = lower(c)
		switch {
		case plainByte(c):
			dst = append(dst, c)
		case strings.IndexByte(`.\();"@$`+"'", c) >= 0:
			dst = append(dst, '\\', c)
		case c <= ' ' || c >= 127:
			dst = append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '.')
}

// expandName reads a wire name and appends its uncompressed, lower-case wire
// form.
func expandName(dst, msg []byte, off int) ([]byte, int, error) {
	end, jumps, start := -1, 0, len(dst)
	for {
		if off >= len(msg) {
			return dst, 0, errShort
		}
		n := int(msg[off])
		switch {
		case n < 64:
			if off+1+n > len(msg) {
				return dst, 0, errShort
			}
			dst = append(dst, byte(n))
			for _, c := range msg[off+1 : off+1+n] {
				dst = append(dst, lower(c))
			}
			off += 1 + n
			if n == 0 {
				if end < 0 {
					end = off
				}
				return dst, end, nil
			}
		case n >= 192 && off+1 < len(msg):
			if end < 0 {
				end = off + 2
			}
			off = (n&63)<<8 | int(msg[off+1])
			if jumps++; jumps > 126 {
				return dst, 0, fmt.Errorf("compression loop: %w", errMessage)
			}
		default:
			return dst, 0, errMessage
		}
		if len(dst)-start > 255 {
			return dst, 0, errMessage
		}
	}
}

// canonicalName gives the one spelling of a name; relative names are completed
// by origin.
func canonicalName(text, origin string) (string, error) {
	if name, ok := plainName(text, origin); ok {
		return name, nil
	}
	wire, err := appendName(make([]byte, 0, 256), text, origin)
	if err != nil {
		return "", err
	}
	out, _, err := readName(make([]byte, 0, len(wire)+8), wire, 0)
	return string(out), err
}

// plainName is canonicalName for the names that need no escapes: nearly all.
func plainName(text, origin string) (string, bool) {
	if text == "@" {
		return origin, true
	}
	label, upper := 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '.' {
			if label == 0 || label > 63 {
				return "", false
			}
			label = 0
			continue
		}
		upper = upper || c != lower(c)
		if !plainByte(lower(c)) {
			return "", false
		}
		label++
	}
	if len(text) == 0 || label > 63 || len(text)+len(origin) > 250 {
		return "", false
	}
	if upper {
		text = strings.ToLower(text)
	}
	switch {
	case label == 0:
		return text, true
	case origin == ".":
		return text + ".", true
	}
	return text + "." + origin, true
}

// inZone tells whether a canonical name is the zone or lies beneath it.
func inZone(name, zone string) bool {
	if zone == "." || name == zone {
		return true
	}
	n := len(name) - len(zone)
	return n > 1 && name[n-1] == '.' && name[n:] == zone && (n < 2 || !escapedDot(name, n-1))
}

// escapedDot tells whether the dot at i is part of a label.
func escapedDot(name string, i int) bool {
	n := 0
	for i--; i >= 0 && name[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

// labels splits a canonical name into its labels, from left to right.
func labels(name string) []string {
	if name == "." || name == "" {
		return nil
	}
	var out []string
	start := 0
	for i := 0; i < len(name); i++ {
		if name[i] == '.' && !escapedDot(name, i) {
			out = append(out, name[start:i])
			start = i + 1
		}
	}
	if start < len(name) {
		out = append(out, name[start:])
	}
	return out
}
