package ssh

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// artefactKind is binaries and archives by URL or OCI reference. Each release
// lies in a directory of its own; the link "current" leads to one of them, and
// is switched in one step.
type artefactKind struct{}

const (
	kindArtefact = "artefact"
	currentLink  = "current"
	releasesDir  = "releases"
	fetchTrueup  = "trueup"
	fetchHost    = "host"
)

// artefactEntry is an artefact in host.yaml; its key is the directory.
type artefactEntry struct {
	URL    string `yaml:"url,omitempty"`
	OCI    string `yaml:"oci,omitempty"`
	SHA256 string `yaml:"sha256,omitempty"`
	// Name is the file's name; the last part of the URL by default. Its end
	// says whether it is an archive: .tar, .tar.gz, .tgz, .zip.
	Name  string `yaml:"name,omitempty"`
	Strip int    `yaml:"strip,omitempty"`
	// Unpack can be switched off for an archive that is wanted as it is.
	Unpack   *bool    `yaml:"unpack,omitempty"`
	Mode     string   `yaml:"mode,omitempty"`
	Keep     int      `yaml:"keep,omitempty"`
	Fetch    string   `yaml:"fetch,omitempty"`
	TakeOver bool     `yaml:"takeOver,omitempty"`
	Notify   []string `yaml:"notify,omitempty" strict:"one"`
}

// artefactState is which release is in use.
type artefactState struct {
	Source  string `json:"source,omitempty"`
	Digest  string `json:"digest,omitempty"`
	Release string `json:"release"`
	// Changed tells that files of the release are no longer what they were.
	Changed bool `json:"changed,omitempty"`

	dest string
	want artefactEntry
	kind string // "", tar or zip: how it is unpacked
	to   string // where the link leads, as observed
}

func (artefactKind) info() kindInfo {
	return kindInfo{names: []string{kindArtefact}, sections: []string{"artefacts"}, class: "artefact", rank: rankBlock + 20,
		blank: func(string) state { return &artefactState{} }}
}

func (s *artefactState) ident() string         { return identOf([]any{s.Release, s.Changed}) }
func (s *artefactState) show() (any, []string) { return s, nil }

// heavy keeps an artefact out of the scripts of others: it travels alone.
func (s *artefactState) heavy(*object) int64 { return maxInline + 1 }

var (
	digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
	ociPattern    = regexp.MustCompile(`^[a-z0-9.-]+(:[0-9]+)?/[a-z0-9][a-z0-9._/-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*)?@sha256:[0-9a-f]{64}$`)
	artefactName  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}$`)
)

func (artefactKind) parse(p *parser, e entry) []*object {
	var y artefactEntry
	n := p.Errors()
	p.Decode(e.value, &y, e.field)
	if !p.hostPath(e) {
		return nil
	}
	s := &artefactState{dest: e.name}
	s.source(p, e, &y)
	if y.Name == "" && s.Source != "" {
		y.Name = path.Base(strings.SplitN(strings.SplitN(s.Source, "?", 2)[0], "@", 2)[0])
	}
	if !artefactName.MatchString(y.Name) {
		p.Errorf(e.value, e.field+".name", "give the file a name", "%q is no name of a file", y.Name)
	}
	y.Mode = p.mode(e, "mode", y.Mode, "0755", 0o777)
	if y.Keep == 0 {
		y.Keep = 3
	}
	switch {
	case y.Keep < 1 || y.Keep > 100:
		p.Errorf(e.value, e.field+".keep", "", "%d is not between 1 and 100", y.Keep)
	case y.Strip < 0 || y.Strip > 20:
		p.Errorf(e.value, e.field+".strip", "", "%d is not between 0 and 20", y.Strip)
	}
	if y.Unpack == nil || *y.Unpack {
		s.kind = archiveKind(y.Name)
	}
	switch y.Fetch {
	case "":
		y.Fetch = fetchTrueup
	case fetchTrueup:
	case fetchHost:
		if y.OCI != "" || s.kind == "zip" || y.Strip > 0 {
			p.Errorf(e.value, e.field+".fetch", "leave it to trueup", "a host fetches files and tar archives by URL, as they are")
		}
	default:
		p.Errorf(e.value, e.field+".fetch", "write trueup or host", "%q is unknown", y.Fetch)
	}
	if p.Errors() > n {
		return nil
	}
	s.want = y
	s.Release = s.release()
	return []*object{{Kind: kindArtefact, Address: plan.Address(kindArtefact + ":" + e.name), State: s, TakeOver: y.TakeOver, Notify: y.Notify}}
}

// source reads where the artefact comes from and what it must be.
func (s *artefactState) source(p *parser, e entry, y *artefactEntry) {
	switch {
	case (y.URL == "") == (y.OCI == ""):
		p.Errorf(e.value, e.field, "name one of them", "give one of url and oci")
	case y.OCI != "":
		if !ociPattern.MatchString(y.OCI) {
			p.Errorf(e.value, e.field+".oci", "for example ghcr.io/acme/app:1.2@sha256:…", "%q is no reference with a digest", y.OCI)
			return
		}
		_, digest, _ := strings.Cut(y.OCI, "@sha256:")
		s.Source, s.Digest = "oci://"+y.OCI, digest
	default:
		u, err := url.Parse(y.URL)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
			p.Errorf(e.value, e.field+".url", "write https://…, without a password in it", "%q is no URL of a file", y.URL)
			return
		}
		if !digestPattern.MatchString(y.SHA256) {
			p.Errorf(e.value, e.field+".sha256", "give what sha256sum says about the file", "the file has to be pinned by its sum")
			return
		}
		s.Source, s.Digest = y.URL, y.SHA256
	}
}

// archiveKind tells by a name how it is unpacked, "" for not at all.
func archiveKind(name string) string {
	switch lower := strings.ToLower(name); {
	case strings.HasSuffix(lower, ".tar"), strings.HasSuffix(lower, ".tar.gz"), strings.HasSuffix(lower, ".tgz"):
		return "tar"
	case strings.HasSuffix(lower, ".zip"):
		return "zip"
	}
	return ""
}

// release names the directory of a release: its content, and all that says how
// it is laid out.
func (s *artefactState) release() string {
	h := sha256.Sum256([]byte(identOf([]any{s.Digest, s.want.Name, s.want.Strip, s.kind, s.want.Mode})))
	return hex.EncodeToString(h[:])[:16]
}

// resolve makes sure that the operator allows the source.
func (s *artefactState) resolve(h *host) (state, error) {
	for _, prefix := range h.artefacts {
		if prefix != "" && strings.HasPrefix(s.Source, prefix) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s is not among the sources that the environment allows: connect.artefacts lists prefixes such as https://releases.example.com/ or oci://ghcr.io/acme/", s.Source)
}

// artefactProbe tells where the link leads, and whether the release's files
// still are what they were.
const artefactProbe = `( d=%s
[ -h "$d/current" ] || exit 0
l=$(readlink -- "$d/current")
r=${l##*/}
echo "$l"
cd -- "$d/releases/$r" 2>/dev/null || { echo gone; exit 0; }
if sha256sum -c "../$r.sums" >/dev/null 2>&1; then echo whole; else echo changed; fi
)`

func (artefactKind) look(p *probe, subjects []subject) {
	for _, sub := range subjects {
		p.path(path.Join(nameOf(sub.address), currentLink))
		p.part(markName(sub.address), fmt.Sprintf(artefactProbe, quote(nameOf(sub.address))))
	}
}

func (artefactKind) observe(a *answer, subjects []subject) ([]*object, error) {
	var out []*object
	for _, sub := range subjects {
		dest := nameOf(sub.address)
		st := &artefactState{dest: dest}
		lines := strings.Split(strings.TrimSuffix(string(a.part(markName(sub.address))), "\n"), "\n")
		f := a.path(path.Join(dest, currentLink))
		switch {
		case f == nil:
			continue
		case f.Hidden:
			return nil, hiddenError(sub.address)
		case f.kind() != kindSymlink || len(lines) != 2:
			st.Release = "(not made by trueup)"
		default:
			st.to = lines[0]
			st.Release, st.Changed = path.Base(lines[0]), lines[1] != "whole"
			if lines[0] != releasesDir+"/"+st.Release {
				st.Release = lines[0] // led elsewhere by hand
			}
		}
		if open, ok := sub.open().(*artefactState); ok && open.Release == st.Release {
			st.Source, st.Digest = open.Source, open.Digest
		}
		out = append(out, &object{Kind: kindArtefact, Address: sub.address, State: st})
	}
	return out, nil
}

// write takes an artefact away: the link first, then the releases. What comes
// is brought by bring.
func (artefactKind) write(w *writer, steps []step) {
	w.functions()
	for _, st := range steps {
		old, ok := oldState(st).(*artefactState)
		if st.New != nil || !ok {
			w.try([]step{st}, "{ echo 'an artefact has to travel alone'; false; }")
			continue
		}
		w.in(old.dest, []step{st}, fmt.Sprintf("try %s %s\n", w.list([]step{st}), quote(strings.Join([]string{
			"leads " + quote(old.to) + " ./" + currentLink, "rm -f -- ./" + currentLink,
			"for r in ./releases/????????????????; do if [ -d \"$r\" ] && [ ! -h \"$r\" ] && [ -f \"$r.sums\" ]; then rm -rf -- \"$r\" \"$r.sums\"; fi; done",
			"{ rmdir ./releases 2>/dev/null || :; }"}, " &&\n"))))
	}
}
