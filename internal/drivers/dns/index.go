package dns

import "hash/maphash"

// index finds sets by name and type. It is a hash table of positions: for the
// hundreds of thousands of sets of a large zone it is several times smaller and
// faster than a map with the names as keys.
type index struct {
	slots []slot
	used  int
}

// slot is one entry; pos counts from one, zero is free.
type slot struct {
	hash uint32
	pos  int32
}

var indexSeed = maphash.MakeSeed()

func newIndex(room int) index {
	n := 16
	for n < room*3/2 {
		n *= 2
	}
	return index{slots: make([]slot, n)}
}

func hashSet(name string, typ uint16) uint32 {
	h := maphash.String(indexSeed, name) + uint64(typ)*0x9e3779b97f4a7c15
	return uint32(h ^ h>>32)
}

// find gives the position of a set, or -1. same tells whether the set at a
// position has the name and type that are looked for.
func (x *index) find(hash uint32, same func(pos int32) bool) int32 {
	if len(x.slots) == 0 {
		return -1
	}
	mask := uint32(len(x.slots) - 1)
	for i := hash & mask; x.slots[i].pos != 0; i = (i + 1) & mask {
		if x.slots[i].hash == hash && same(x.slots[i].pos-1) {
			return x.slots[i].pos - 1
		}
	}
	return -1
}

// put adds a set that is not there yet.
func (x *index) put(hash uint32, pos int32) {
	if x.used*4 >= len(x.slots)*3 {
		old := x.slots
		x.slots = make([]slot, max(16, 2*len(old)))
		for _, s := range old {
			if s.pos != 0 {
				x.place(s)
			}
		}
	}
	x.place(slot{hash, pos + 1})
	x.used++
}

func (x *index) place(s slot) {
	mask := uint32(len(x.slots) - 1)
	i := s.hash & mask
	for x.slots[i].pos != 0 {
		i = (i + 1) & mask
	}
	x.slots[i] = s
}
