package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
)

// Identify gives the object id of a file, or a hash of the names and modes in
// a directory that the view may see. It counts as reading: the bytes of a file
// are then part of what the view holds, though nobody has looked at them.
func (v *View) Identify(name string) (string, error) {
	e, err := v.resolve(name, true)
	var id string
	if err == nil {
		id, err = v.identify(e)
	}
	if err != nil {
		return "", &fs.PathError{Op: "identify", Path: name, Err: err}
	}
	return id, nil
}

func (v *View) identify(e Entry) (string, error) {
	if e.IsDir() {
		entries, err := v.list(e.Path)
		if err != nil {
			return "", err
		}
		h := sha256.New()
		for _, c := range entries {
			fmt.Fprintf(h, "%o %s\x00", c.Mode, path.Base(c.Path))
		}
		return "list " + hex.EncodeToString(h.Sum(nil)), nil
	}
	id, err := v.snap.tree.ID(v.ctx, e)
	if err != nil {
		return "", err
	}
	v.record(e.Path, "file", id)
	return fmt.Sprintf("file %o %s", e.Mode, id), nil
}
