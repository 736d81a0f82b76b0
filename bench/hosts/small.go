package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"trueup.dev/trueup/internal/servertest/sshhosts"
)

// small measures small files to several hosts: first time, no change, one
// file changed; trueup beside rsync, in turn.
func (b *bench) small(counts []int) error {
	for _, n := range counts {
		if err := b.smallTo(n); err != nil {
			return fmt.Errorf("%d hosts: %w", n, err)
		}
	}
	return nil
}

const smallDocument = "trees:\n  /srv/app: {source: files}\n"

func (b *bench) smallTo(n int) error {
	var ours, theirs [3][]cost
	for range b.runs {
		if err := b.smallRun(n, &ours, &theirs); err != nil {
			return err
		}
	}
	for i, what := range []string{"first_time", "no_change", "one_changed"} {
		name := fmt.Sprintf("hosts_%d_files_%d_%s", n, b.files, what)
		us, them := median(ours[i]), median(theirs[i])
		report(name, us)
		report(name+"_rsync", them)
		aim := "<= 1"
		if n == 1 {
			aim = "" // shown for the growth with the hosts
		}
		figure(name+"_against_rsync", ratio(us, them), "x", aim)
		figure(name+"_memory", float64(us.rss)/(1<<20), "MB", "")
	}
	return nil
}

// smallRun is one run on fresh hosts.
func (b *bench) smallRun(n int, ours, theirs *[3][]cost) error {
	stop, err := b.start(n)
	if err != nil {
		return err
	}
	defer stop()
	r, err := b.newRepo(b.lab.Hosts, smallDocument)
	if err != nil {
		return err
	}
	if err := r.fill(b.files); err != nil {
		return err
	}
	for i := range ours {
		if i == 2 {
			if err := r.touchOne(); err != nil {
				return err
			}
		}
		them, err := b.rsync(b.lab.Hosts, r.files+"/", "/srv/rsync/")
		if err != nil {
			return err
		}
		us, err := r.apply()
		if err != nil {
			return err
		}
		ours[i], theirs[i] = append(ours[i], us), append(theirs[i], them)
		if err := arrived(b.lab.Hosts, b.files); err != nil {
			return err
		}
	}
	return nil
}

// arrived compares what both sides brought, on the hosts themselves.
func arrived(hosts []*sshhosts.Host, files int) error {
	for _, h := range hosts {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		out, err := h.Exec(ctx, "diff -r /srv/rsync /srv/app && find /srv/app -type f | wc -l")
		cancel()
		if err != nil {
			return err
		}
		if strings.TrimSpace(out) != fmt.Sprint(files) {
			return fmt.Errorf("%s has %s files of %d", h.Name, strings.TrimSpace(out), files)
		}
	}
	return nil
}

// ansible measures Ansible's copy module on a few files and works out what all
// would take: it copies one after the other, so the time grows with them.
func (b *bench) ansible(counts []int) error {
	for _, n := range counts {
		if n == 1 {
			continue
		}
		if err := b.ansibleTo(n); err != nil {
			return fmt.Errorf("%d hosts: %w", n, err)
		}
	}
	return nil
}

func (b *bench) ansibleTo(n int) error {
	stop, err := b.start(n)
	if err != nil {
		return err
	}
	defer stop()
	few, more := 2, 6
	var at [2]cost
	for i, files := range []int{few, more} {
		r, err := b.newRepo(b.lab.Hosts, smallDocument)
		if err != nil {
			return err
		}
		if err := r.fill(files); err != nil {
			return err
		}
		if at[i], err = b.copyWithAnsible(b.lab.Hosts, r.files); err != nil {
			return err
		}
	}
	each := (at[1].Wall - at[0].Wall) / time.Duration(more-few)
	all := at[0].Wall + each*time.Duration(b.files-few)
	r, err := b.newRepo(b.lab.Hosts, smallDocument)
	if err != nil {
		return err
	}
	if err := r.fill(b.files); err != nil {
		return err
	}
	us, err := r.apply()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("hosts_%d_ansible", n)
	fmt.Printf("# Ansible copied %d files in %s and %d in %s to %d hosts, %s for each further one; %d files are worked out from that, not measured\n",
		few, at[0].Wall.Round(time.Millisecond), more, at[1].Wall.Round(time.Millisecond), n, each.Round(time.Millisecond), b.files)
	figure(fmt.Sprintf("%s_%d_files_measured", name, more), float64(at[1].Wall.Milliseconds()), "ms", "")
	figure(fmt.Sprintf("%s_%d_files_worked_out", name, b.files), float64(all.Milliseconds()), "ms", "")
	figure(fmt.Sprintf("hosts_%d_files_%d_first_time_ahead_of_ansible", n, b.files), float64(all)/float64(us.Wall), "x", ">= 30")
	return nil
}
