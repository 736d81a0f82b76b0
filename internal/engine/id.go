package engine

import (
	"crypto/rand"
	"encoding/binary"
)

// randomID gives 16 random bits, to keep ids made in the same microsecond
// apart.
func randomID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint16(b[:])
}
