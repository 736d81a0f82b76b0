package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

const largeSize = 1 << 30

// large measures one file of a gigabyte of which a megabyte has changed.
func (b *bench) large() error {
	stop, err := b.start(1)
	if err != nil {
		return err
	}
	defer stop()

	r, err := b.newRepo(b.lab.Hosts, "files:\n  /srv/disk/app.img: {source: files/app.img}\n")
	if err != nil {
		return err
	}
	file := filepath.Join(r.files, "app.img")
	rnd := rand.New(rand.NewPCG(1, 2))
	if err := randomFile(file, largeSize, rnd); err != nil {
		return err
	}
	first, err := r.applyAlone(b.profile)
	if err != nil {
		return err
	}
	report("large_first_time", first)
	firstThem, err := b.rsync(b.lab.Hosts, file, "/srv/disk/rsync/app.img")
	if err != nil {
		return err
	}
	report("large_first_time_rsync", firstThem)
	if _, err := b.rsync(b.lab.Hosts, file, "/srv/disk/rsync2/app.img"); err != nil {
		return err
	}
	var ours, theirs, synced []cost
	for range b.runs {
		if err := changePart(file, 1<<20, rnd); err != nil {
			return err
		}
		us, them, safe, err := b.largeRun(r, file)
		if err != nil {
			return err
		}
		ours, theirs, synced = append(ours, us), append(theirs, them), append(synced, safe)
	}
	us, them := median(ours), median(theirs)
	report("large_one_megabyte_changed", us)
	report("large_one_megabyte_changed_rsync", them)
	report("large_one_megabyte_changed_rsync_fsync", median(synced))
	figure("large_one_megabyte_changed_against_rsync", ratio(us, them), "x", "<= 1.2")
	figure("large_one_megabyte_changed_against_rsync_fsync", ratio(us, median(synced)), "x", "")
	figure("large_one_megabyte_changed_memory", float64(us.rss)/(1<<20), "MB", "")
	return nil
}

// largeRun brings one change to the host three ways: trueup, rsync, and rsync
// when it brings the file to the disk, as trueup does.
func (b *bench) largeRun(r *repo, file string) (us, them, safe cost, err error) {
	if them, err = b.rsync(b.lab.Hosts, file, "/srv/disk/rsync/app.img"); err != nil {
		return
	}
	if safe, err = b.rsync(b.lab.Hosts, file, "/srv/disk/rsync2/app.img", "--fsync"); err != nil {
		return
	}
	if us, err = r.applyAlone(b.profile); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	_, err = b.lab.Hosts[0].Exec(ctx, "cmp /srv/disk/app.img /srv/disk/rsync/app.img && cmp /srv/disk/app.img /srv/disk/rsync2/app.img")
	return
}

func randomFile(path string, size int64, rnd *rand.Rand) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(f, random{rnd}, size); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// changePart writes other content over a part of the file.
func changePart(path string, size int64, rnd *rand.Rand) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	at := rnd.Int64N(largeSize - size)
	if _, err := io.CopyN(io.NewOffsetWriter(f, at), random{rnd}, size); err != nil {
		_ = f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}

// random is bytes that don't compress.
type random struct{ r *rand.Rand }

// Read fills the whole of p.
func (r random) Read(p []byte) (int, error) {
	for i := 0; i < len(p); i += 8 {
		v := r.r.Uint64()
		for j := i; j < min(i+8, len(p)); j++ {
			p[j] = byte(v)
			v >>= 8
		}
	}
	return len(p), nil
}
