package ssh

import "math/bits"

// The sum of POSIX cksum: every host has it, and coreutils' is by far its
// quickest. It finds out which blocks of a file differ; that the whole is
// right, SHA-256 tells.

const cksumPoly = 0x04C11DB7

// cksumTables holds, for a byte that n more bytes follow, what it adds.
var cksumTables = func() (t [16][256]uint32) {
	for i := range 256 {
		c := uint32(i) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ cksumPoly
			} else {
				c <<= 1
			}
		}
		t[0][i] = c
	}
	for n := 1; n < 16; n++ {
		for i := range 256 {
			c := t[n-1][i]
			t[n][i] = c<<8 ^ t[0][c>>24]
		}
	}
	return t
}()

// cksum gives what cksum prints about a block.
func cksum(p []byte) uint32 {
	t := &cksumTables
	var c uint32
	size := uint64(len(p))
	for ; len(p) >= 16; p = p[16:] {
		_ = p[15]
		c = t[15][byte(c>>24)^p[0]] ^ t[14][byte(c>>16)^p[1]] ^ t[13][byte(c>>8)^p[2]] ^ t[12][byte(c)^p[3]] ^
			t[11][p[4]] ^ t[10][p[5]] ^ t[9][p[6]] ^ t[8][p[7]] ^ t[7][p[8]] ^ t[6][p[9]] ^ t[5][p[10]] ^ t[4][p[11]] ^
			t[3][p[12]] ^ t[2][p[13]] ^ t[1][p[14]] ^ t[0][p[15]]
	}
	for _, b := range p {
		c = c<<8 ^ t[0][byte(c>>24)^b]
	}
	for n := (bits.Len64(size) + 7) / 8; n > 0; n-- {
		c = c<<8 ^ t[0][byte(c>>24)^byte(size)]
		size >>= 8
	}
	return ^c
}
