//go:build !linux

package files

import (
	"errors"
	"io/fs"
	"os"
)

func stampOf(info fs.FileInfo) stamp {
	return stamp{size: info.Size(), mode: info.Mode(), change: info.ModTime()}
}

func realmOf(*os.File) (string, error) {
	return "", errors.New("the files driver writes on Linux only")
}

func lockFile(*os.File) error { return errors.New("the files driver writes on Linux only") }
