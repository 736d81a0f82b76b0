//go:build real

package ssh_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"trueup.dev/trueup/internal/servertest/sshhosts"
)

func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, seed))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestChangedBlocksTravel: of a large file only the blocks travel that differ, also from
// and to a host that has busybox alone. What arrives is what was asked for.
func TestChangedBlocksTravel(t *testing.T) {
	for _, kind := range []sshhosts.Kind{sshhosts.Debian, sshhosts.Busybox} {
		t.Run(string(kind), func(t *testing.T) {
			b := newLab(t, kind)
			h := b.lab.Hosts[0]
			b.doc("files:\n  /srv/app.img: {source: app.img, mode: '0640'}\n")
			content := noise(20<<20+12345, 1)
			try := func(what string) {
				t.Helper()
				b.tree["hosts/app.img"] = &fstest.MapFile{Data: content, Mode: 0o644}
				before := received(t, h)
				b.sync()
				got, err := h.ReadFile("/srv/app.img")
				if err != nil || !bytes.Equal(got, content) {
					t.Fatalf("%s: %v, %d bytes arrived of %d", what, err, len(got), len(content))
				}
				t.Logf("%s: %d KB travelled of %d", what, (received(t, h)-before)>>10, len(content)>>10)
			}
			h.Sh(t, "mkdir -p /srv")
			try("first")
			content = bytes.Clone(content)
			copy(content[7<<20:], noise(100_000, 2))
			before := received(t, h)
			try("a part changed")
			if n := received(t, h) - before; n > 2<<20 {
				t.Errorf("%d bytes travelled for 100 KB that changed", n)
			}
			content = append(bytes.Clone(content), noise(3<<20, 3)...)
			try("longer")
			content = bytes.Clone(content[:15<<20+1])
			try("shorter")
			content = noise(15<<20, 4)
			try("all of it")
			// By hand, at the same size.
			h.Sh(t, "printf evil | dd of=/srv/app.img bs=1 seek=5000000 conv=notrunc 2>/dev/null")
			if p := b.plan(); p.Empty() {
				t.Fatal("a change by hand is not seen")
			}
			try("by hand")
			h.Sh(t, "test \"$(stat -c %a /srv/app.img)\" = 640 && test \"$(ls -A /srv)\" = app.img")
		})
	}
}

// received is how many bytes the host took in from its network.
func received(t *testing.T, h *sshhosts.Host) (n int64) {
	t.Helper()
	for line := range strings.Lines(h.Sh(t, "cat /proc/net/dev")) {
		f := strings.Fields(line)
		if f[0] == "eth0:" {
			for _, c := range f[1] {
				n = n*10 + int64(c-'0')
			}
		}
	}
	return n
}
