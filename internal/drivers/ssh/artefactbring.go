package ssh

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// bring brings a release to a host: beside the others, checked, and then the
// link is switched.
func (s *set) bring(ctx context.Context, h *host, st step) error {
	state, ok := newState(st).(*artefactState)
	if !ok {
		return fmt.Errorf("%w: a %T is no artefact", setplan.ErrSkipped, newState(st))
	}
	w := &writer{script: newScript(), host: h, ids: map[plan.Key]int{st.Change.Key: 0}}
	var body io.Reader = strings.NewReader("")
	receive := hostFetch(state)
	if state.want.Fetch != fetchHost {
		p, err := s.shelf.get(ctx, state)
		if err != nil {
			return fmt.Errorf("%w: %w", setplan.ErrSkipped, err)
		}
		f, err := os.Open(p.file)
		if err != nil {
			return fmt.Errorf("%w: %w", setplan.ErrSkipped, err)
		}
		defer f.Close()
		body = io.MultiReader(strings.NewReader(p.sums), f)
		receive = fmt.Sprintf("dd bs=%d count=1 iflag=fullblock 2>/dev/null >./sums && ", len(p.sums))
		if p.plain {
			receive += "cat >" + quote("./new/"+state.want.Name) + " && chmod " + state.want.Mode + " " + quote("./new/"+state.want.Name)
		} else {
			receive += "tar -xf - -C ./new --no-same-owner 2>&1"
			if !h.facts.has("tar") {
				return fmt.Errorf("%w: the host has no tar to unpack an archive with", setplan.ErrSkipped)
			}
		}
	}
	w.bring(state, oldState(st), receive)
	out := bounded{most: maxAnswer}
	err := h.t.run(ctx, w.command(), body, &out)
	return outcomes(out.Bytes(), w.nonce, 1, err)[0]
}

// bring writes the script. Nothing but the link is touched outside of the
// staging directory until the release is whole.
func (w *writer) bring(s *artefactState, before state, receive string) {
	check := "free ../current"
	if old, ok := before.(*artefactState); ok && old.to != "" {
		check = "leads " + quote(old.to) + " ../current"
	} else if ok {
		check = "{ echo 'there is something called current that trueup did not make'; false; }"
	}
	rel := s.Release
	body := strings.Join([]string{
		"stage || { no 0; exit; }",
		"umask 022",
		"mkdir ./new",
		"m=$( { " + receive + "; } && ( cd ./new && sha256sum -c ../sums ) 2>&1 ) || { printf '%s\\n' \"$m\" | { while read -r l; do case $l in *': OK') ;; *) echo \"$l\" ;; esac; done; }; echo 'the release did not arrive whole'; no 0; exit; }",
		check + " || { stale 0; exit; }",
		"if [ -h ../releases ]; then echo 'releases is a link'; no 0; exit; fi",
		"[ -d ../releases ] || mkdir -m 755 ../releases || { no 0; exit; }",
		"rm -rf ../releases/" + rel + " && mv ./new ../releases/" + rel + " && mv -f ./sums ../releases/" + rel + ".sums && touch ../releases/" + rel + " || { no 0; exit; }",
		"sy ../releases/" + rel + ".sums; sync",
		"ln -s releases/" + rel + " ./current && mv -f ./current .. && sy .. || { no 0; exit; }",
		"ok 0",
		fmt.Sprintf("n=0; for r in $(ls -1t ../releases); do case $r in *.sums) continue ;; ????????????????) ;; *) continue ;; esac; [ -f \"../releases/$r.sums\" ] || continue; n=$((n+1)); [ $n -le %d ] || [ $r = %s ] || rm -rf \"../releases/$r\" \"../releases/$r.sums\"; done", s.want.Keep, rel),
	}, "\n")
	dir := path.Clean(s.dest)
	fmt.Fprintf(w, "if [ ! -d %[1]s ] && [ ! -h %[1]s ]; then m=$( enter %[2]s && [ \"$W\" = \"$U\" ] && mkdir -m 755 ./%[3]s ) || { printf '%%s\\n' \"$m\"; echo 'the directory could not be made'; no 0; echo \"$N end\"; exit; }; fi\n",
		quote(dir), quote(path.Dir(dir)), quote(path.Base(dir)))
	fmt.Fprintf(w, "receive %s %s\n", quote(dir), quote(body))
}

// hostFetch is how a host fetches by itself. Names in an archive are looked at
// before it is unpacked.
func hostFetch(s *artefactState) string {
	u, sum, name := quote(s.want.URL), s.Digest, quote(s.want.Name)
	get := "{ if command -v curl >/dev/null 2>&1; then curl -fsSL --max-time 1800 -o ./raw -- " + u + "; else wget -q -T 60 -O ./raw " + u + "; fi; } 2>&1 && " +
		"{ [ \"$(sha256sum <./raw)\" = '" + sum + "  -' ] || { echo 'it has another sum than " + sum + "'; false; }; } && "
	if s.kind == "" {
		return get + "mv ./raw ./new/" + name + " && chmod " + s.want.Mode + " ./new/" + name + " && ( cd ./new && sha256sum -- " + name + " ) >./sums"
	}
	return get + `tar -tf ./raw >./names && while IFS= read -r n; do case /$n/ in //*|*/../*|*\\*) echo "the name $n is not allowed"; exit 1 ;; esac; done <./names && ` +
		`tar -xf ./raw -C ./new --no-same-owner 2>&1 && ( cd ./new && while IFS= read -r n; do if [ -f "$n" ] && [ ! -h "$n" ]; then sha256sum -- "$n"; fi; done <../names ) >./sums`
}
