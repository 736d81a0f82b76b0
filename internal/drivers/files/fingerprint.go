package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Fingerprint hashes size, times, inode, mode and owner of every object that
// concerns the target. It reads no content.
func (s *session) Fingerprint(ctx context.Context, in driver.Input) (map[plan.Scope]string, error) {
	set, err := s.set(ctx, in)
	if err != nil {
		return nil, err
	}
	if _, err := set.Desired(ctx, in); err != nil {
		return nil, err
	}
	h := sha256.New()
	fmt.Fprintln(h, s.place.realm)
	o := set.observer(ctx)
	o.each = func(at *os.Root, full, name string) error {
		info, err := at.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		st := stampOf(info)
		if info.IsDir() {
			// A directory's times and size move with what others put there.
			_, err = fmt.Fprintf(h, "%q dir %d %s %d:%d\n", full, st.inode, st.mode, st.uid, st.gid)
			return err
		}
		_, err = fmt.Fprintf(h, "%q %d %d %s %d %d %d:%d\n", full, st.inode, st.size, st.mode,
			info.ModTime().UnixNano(), st.change.UnixNano(), st.uid, st.gid)
		return err
	}
	if err := o.read(nil, set.exclusive()); err != nil {
		return nil, err
	}
	return map[plan.Scope]string{"": hex.EncodeToString(h.Sum(nil))}, nil
}
