package git

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/source"
)

// node is one name in a tree object.
type node struct {
	name string
	mode source.Mode
	id   string
}

// parseTree reads a tree object. Modes that Git no longer writes are brought
// to those it does.
func parseTree(body []byte) ([]node, error) {
	var out []node
	for len(body) > 0 {
		sp := bytes.IndexByte(body, ' ')
		nul := bytes.IndexByte(body, 0)
		if sp <= 0 || nul <= sp || len(body) < nul+1+20 {
			return nil, fmt.Errorf("%w: malformed tree", source.ErrCorrupt)
		}
		mode, err := strconv.ParseUint(string(body[:sp]), 8, 32)
		if err != nil {
			return nil, fmt.Errorf("%w: malformed tree: mode %q", source.ErrCorrupt, body[:sp])
		}
		n := node{name: string(body[sp+1 : nul]), id: hex.EncodeToString(body[nul+1 : nul+21])}
		switch mode & 0o170000 {
		case 0o040000:
			n.mode = source.ModeDir
		case 0o120000:
			n.mode = source.ModeSymlink
		case 0o160000:
			n.mode = source.ModeGitlink
		case 0o100000:
			n.mode = source.ModeFile
			if mode&0o111 != 0 {
				n.mode = source.ModeExec
			}
		default:
			return nil, fmt.Errorf("%w: %q has the mode %o", source.ErrCorrupt, n.name, mode)
		}
		out = append(out, n)
		body = body[nul+21:]
	}
	return out, nil
}

// signedObject is a commit or tag with its signature taken out.
type signedObject struct {
	headers   [][2]string
	message   string
	payload   []byte // what was signed
	signature []byte
}

func (s *signedObject) get(key string) string {
	for _, h := range s.headers {
		if h[0] == key {
			return h[1]
		}
	}
	return ""
}

// parseObject reads a commit or tag. A commit carries its signature in a
// header, a tag at the end of its message.
func parseObject(kind string, body []byte) (*signedObject, error) {
	s := &signedObject{}
	rest := body
	for len(rest) > 0 && rest[0] != '\n' {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		for end < len(rest) && rest[end] == ' ' { // a header goes on
			next := bytes.IndexByte(rest[end:], '\n') + 1
			if next == 0 {
				next = len(rest) - end
			}
			end += next
		}
		raw := rest[:end]
		rest = rest[end:]
		key, value, _ := strings.Cut(strings.TrimSuffix(string(raw), "\n"), " ")
		value = strings.ReplaceAll(value, "\n ", "\n")
		s.headers = append(s.headers, [2]string{key, value})
		if key != "gpgsig" && key != "gpgsig-sha256" {
			s.payload = append(s.payload, raw...)
			continue
		}
		if s.signature != nil {
			return nil, fmt.Errorf("%w: a %s with two signatures", source.ErrUnsigned, kind)
		}
		s.signature = []byte(value + "\n")
	}
	s.payload = append(s.payload, rest...)
	s.message = strings.TrimPrefix(string(rest), "\n")
	if kind == "tag" {
		s.signature = nil
		if i := signatureAt(s.payload); i >= 0 {
			s.payload, s.signature = s.payload[:i:i], s.payload[i:]
		}
	}
	return s, nil
}

// signatureAt finds the last line that begins a signature.
func signatureAt(b []byte) int {
	at := -1
	for _, begin := range []string{"-----BEGIN PGP SIGNATURE-----", "-----BEGIN SSH SIGNATURE-----"} {
		if i := bytes.LastIndex(b, []byte("\n"+begin)); i+1 > at && i >= 0 {
			at = i + 1
		}
	}
	return at
}

// parseCommit makes a revision of a commit object.
func parseCommit(id string, body []byte) (source.Revision, error) {
	s, err := parseObject("commit", body)
	if err != nil {
		return source.Revision{}, err
	}
	r := source.Revision{Commit: id, Tree: s.get("tree")}
	if len(r.Tree) != 40 {
		return r, fmt.Errorf("%w: commit %s has no tree", source.ErrCorrupt, id)
	}
	for _, h := range s.headers {
		if h[0] == "parent" {
			r.Parents = append(r.Parents, h[1])
		}
	}
	r.Author, r.AuthorEmail, _ = parsePerson(s.get("author"))
	_, _, r.Time = parsePerson(s.get("committer"))
	r.Subject, _, _ = strings.Cut(strings.TrimLeft(s.message, "\n"), "\n")
	r.Subject, r.Author, r.AuthorEmail = tidy(r.Subject), tidy(r.Author), tidy(r.AuthorEmail)
	return r, nil
}

// parsePerson reads "Name <mail> seconds zone".
func parsePerson(s string) (name, mail string, at time.Time) {
	open, end := strings.IndexByte(s, '<'), strings.LastIndexByte(s, '>')
	if open < 0 || end < open {
		return s, "", at
	}
	name, mail = strings.TrimSpace(s[:open]), s[open+1:end]
	if f := strings.Fields(s[end+1:]); len(f) > 0 {
		if sec, err := strconv.ParseInt(f[0], 10, 64); err == nil {
			at = time.Unix(sec, 0).UTC()
		}
	}
	return name, mail, at
}

// tidy makes text from a commit fit for a terminal line.
func tidy(s string) string {
	s = strings.ToValidUTF8(printable(s), "\ufffd")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return strings.TrimSpace(s)
}
