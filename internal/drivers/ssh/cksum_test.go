package ssh

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestCksum compares with the program itself.
func TestCksum(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 255, 256, 257, 65535, 65536, 1 << 20} {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(i*7 + i>>8)
		}
		cmd := exec.Command("cksum")
		cmd.Stdin = bytes.NewReader(p)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint(cksum(p)); strings.Fields(string(out))[0] != want {
			t.Errorf("%d bytes: %s, not %s", n, out, want)
		}
	}
}

func BenchmarkCksum(b *testing.B) {
	p := make([]byte, 1<<20)
	b.SetBytes(1 << 20)
	for b.Loop() {
		cksum(p)
	}
}

// TestBlocksFound: whatever the host says, a block that differs is sent.
func TestBlocksFound(t *testing.T) {
	d := &delta{block: 10, size: 35}
	d.compare([]uint32{1, 2, 3, 4}, []uint32{1, 9, 3}, true)
	if want := []bool{false, true, false, true}; fmt.Sprint(d.send) != fmt.Sprint(want) || d.amount != 15 {
		t.Fatalf("%v %d", d.send, d.amount)
	}
	if got := blocksFrom(d.ours, 10); fmt.Sprint(got) != "[1 2 3 4]" || blocksFrom(d.ours, 20) != nil {
		t.Fatal(got)
	}
	for _, bad := range []string{"", "cksum\n", "cksum\n1 2\n", "cksum\n1 2\nx\nN end\n", "cksum\n99999999999 1\nN end\n", "md5sum\n1 2\nN end\n"} {
		if got, ok := parseBlocks([]byte(bad), "N"); ok {
			t.Errorf("%q gives %v", bad, got)
		}
	}
}
