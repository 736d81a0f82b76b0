// Package house has no code of its own: its tests keep the rules of the house
// that a compiler does not: who may import whom, how large files, functions,
// interfaces and structs may get, and which names and words are not used.
//
// A file or declaration that has to break a size rule says why, in a comment
// directive beside it:
//
//	//house:exception REASON
package house
