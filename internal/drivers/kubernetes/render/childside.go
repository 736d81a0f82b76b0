package render

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"os"
	"path"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"
)

// memoryWord is what a child says when it needs too much memory.
const memoryWord = "trueup-render: too much memory"

// init turns the program into a child before it does anything else: also the
// test binary of any package that renders.
//
//house:exception the child is a process of its own, and main must not run in it
func init() {
	if len(os.Args) == 2 && os.Args[0] == childName {
		os.Exit(beChild(os.Args[1]))
	}
}

// beChild renders what the parent asks for on standard input.
func beChild(limit string) int {
	bound, err := strconv.ParseInt(limit, 10, 64)
	if err != nil {
		return 2
	}
	watchMemory(bound)
	log.SetOutput(io.Discard) // standard error is for the reason of a crash
	slog.SetDefault(slog.New(slog.DiscardHandler))
	p := &parent{enc: gob.NewEncoder(os.Stdout), dec: gob.NewDecoder(os.Stdin)}
	var j job
	if err := p.dec.Decode(&j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	data, err := p.work(&j)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := p.enc.Encode(ask{Op: "done", Data: data}); err != nil {
		return 2
	}
	return 0
}

// watchMemory ends the process before it takes the machine's memory.
//
//house:exception templates can't be stopped in any other way
func watchMemory(bound int64) {
	debug.SetMemoryLimit(bound)
	limitData(uint64(bound) + bound4th(bound))
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for range time.Tick(20 * time.Millisecond) {
			metrics.Read(sample)
			if sample[0].Value.Uint64() > uint64(bound) {
				fmt.Fprintln(os.Stderr, memoryWord)
				os.Exit(3)
			}
		}
	}()
}

func bound4th(bound int64) uint64 { return uint64(bound)/4 + 256<<20 }

// parent is the child's view of the process that started it.
type parent struct {
	enc    *gob.Encoder
	dec    *gob.Decoder
	cached map[string]answer
}

func (p *parent) work(j *job) ([]byte, error) {
	p.cached = map[string]answer{}
	in := Input{Tree: p, Path: j.Path, Capabilities: j.Capabilities, RemoteBases: !j.RemoteOff}
	if err := decodeJSON(j.Spec, &in.Spec); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(j.Values, &in.Values); err != nil {
		return nil, err
	}
	if j.Decrypt {
		in.Decrypt = func(_ context.Context, name string, data []byte) ([]byte, error) {
			a, err := p.ask(ask{Op: "decrypt", Name: name, Data: data})
			return a.Data, err
		}
	}
	if j.Fetch {
		in.Fetch = func(_ context.Context, s Source) ([]byte, error) {
			a, err := p.ask(ask{Op: "fetch", Name: s.URL, Source: s})
			return a.Data, err
		}
	}
	if j.Release {
		in.Release = p.seen(j)
	}
	r := newRun(context.Background(), in)
	if err := r.evaluate(j.Format); err != nil {
		return nil, errors.New(r.files.secrets.scrub(err.Error()))
	}
	return r.send()
}

// evaluate renders in this process. What a library did not foresee ends this
// rendering alone, and shows no secret.
func (r *run) evaluate(format Format) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("rendering %s failed: %s", r.in.Path, r.files.secrets.scrub(fmt.Sprint(p)))
		}
	}()
	switch format {
	case Helm:
		err = r.helm()
	case Kustomize:
		err = r.kustomize()
	case Jsonnet:
		err = r.jsonnet()
	default:
		err = r.plain()
	}
	if err := r.failure(err); err != nil {
		return err
	}
	r.finish()
	return nil
}

// ask asks the parent, and gives the error that it met.
func (p *parent) ask(a ask) (answer, error) {
	var out answer
	if err := p.enc.Encode(a); err != nil {
		return out, err
	}
	if err := p.dec.Decode(&out); err != nil {
		return out, err
	}
	return out, out.failure(a)
}

func (a answer) failure(asked ask) error {
	switch {
	case a.Err == "":
		return nil
	case a.Kind == "missing":
		return &fs.PathError{Op: "open", Path: asked.Name, Err: fs.ErrNotExist}
	case a.Kind == "invalid":
		return &fs.PathError{Op: "open", Path: asked.Name, Err: fs.ErrInvalid}
	case a.Kind == "outside":
		return &fs.PathError{Op: "open", Path: asked.Name, Err: farOutside{a.Err, a.Line}}
	case a.Kind == "limit":
		return tooMuch(a.Err)
	}
	return errors.New(a.Err)
}

type farOutside struct{ text, line string }

// Error gives the text.
func (e farOutside) Error() string { return e.text }

// Line gives the line that would allow it.
func (e farOutside) Line() string { return e.line }

// known asks once for each name.
func (p *parent) known(op, name string) (answer, error) {
	if !fs.ValidPath(name) {
		return answer{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	key := op + " " + name
	a, ok := p.cached[key]
	if ok {
		return a, a.failure(ask{Name: name})
	}
	a, err := p.ask(ask{Op: op, Name: name})
	p.cached[key] = a
	return a, err
}

// Open opens a file or directory of the snapshot.
func (p *parent) Open(name string) (fs.File, error) {
	info, err := p.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		entries, err := p.ReadDir(name)
		return &remoteFile{info: info.(dirEntry), entries: entries}, err
	}
	b, err := p.ReadFile(name)
	if err != nil {
		return nil, err
	}
	d := dirEntry{N: path.Base(name), S: int64(len(b))}
	return &remoteFile{info: d, Reader: bytes.NewReader(b)}, nil
}

// ReadFile reads a file of the snapshot.
func (p *parent) ReadFile(name string) ([]byte, error) {
	a, err := p.known("read", name)
	return bytes.Clone(a.Data), err
}

// ReadDir lists a directory of the snapshot.
func (p *parent) ReadDir(name string) ([]fs.DirEntry, error) {
	a, err := p.known("list", name)
	out := make([]fs.DirEntry, len(a.Entries))
	for i, e := range a.Entries {
		out[i] = e
	}
	return out, err
}

// Stat tells whether a name is a file or a directory.
func (p *parent) Stat(name string) (fs.FileInfo, error) {
	a, err := p.known("stat", name)
	return dirEntry{N: path.Base(name), D: a.Dir}, err
}

// remoteFile is an open file or directory.
type remoteFile struct {
	*bytes.Reader
	info    dirEntry
	entries []fs.DirEntry
}

// Stat describes it.
func (f *remoteFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close does nothing.
func (f *remoteFile) Close() error { return nil }

// Read reads on.
func (f *remoteFile) Read(b []byte) (int, error) {
	if f.Reader == nil {
		return 0, &fs.PathError{Op: "read", Path: f.info.N, Err: errors.New("is a directory")}
	}
	return f.Reader.Read(b)
}

// ReadDir gives the entries of a directory.
func (f *remoteFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		out := f.entries
		f.entries = nil
		return out, nil
	}
	if len(f.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.entries))
	out := f.entries[:n]
	f.entries = f.entries[n:]
	return out, nil
}

// dirEntry is a name in a directory, and the description of a file.
type dirEntry struct {
	N    string
	D, L bool
	S    int64
}

// Name gives the name.
func (d dirEntry) Name() string { return d.N }

// IsDir tells whether it is a directory.
func (d dirEntry) IsDir() bool { return d.D }

// Type gives the type bits.
func (d dirEntry) Type() fs.FileMode { return d.Mode().Type() }

// Info gives the entry itself.
func (d dirEntry) Info() (fs.FileInfo, error) { return d, nil }

// Size gives the size where it is known.
func (d dirEntry) Size() int64 { return d.S }

// Mode gives the kind: Git knows little more.
func (d dirEntry) Mode() fs.FileMode {
	switch {
	case d.D:
		return fs.ModeDir | 0o755
	case d.L:
		return fs.ModeSymlink | 0o777
	}
	return 0o644
}

// ModTime is zero: a revision has no times of files.
func (d dirEntry) ModTime() time.Time { return time.Time{} }

// Sys gives nothing.
func (d dirEntry) Sys() any { return nil }

// decodeJSON reads JSON whose numbers keep all their digits.
func decodeJSON(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return dec.Decode(into)
}
