package ssh

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"trueup.dev/trueup/internal/client/inventory"
	client "trueup.dev/trueup/internal/client/ssh"
	"trueup.dev/trueup/internal/driver"
)

// dialer knows the way to every host of an environment.
type dialer struct {
	connect *Connect
	pool    *client.Pool
	auth    client.Auth
	sudo    *client.Sudo
	files   []string // known_hosts

	mu    sync.Mutex
	known *client.KnownHosts
	stamp string // of the files, as they were read
}

func newDialer(ctx context.Context, c *Connect, env driver.Environment) (*dialer, error) {
	d := &dialer{connect: c, pool: client.NewPool()}
	files := slices.Clone(c.KnownHosts)
	for i, f := range files {
		if !filepath.IsAbs(f) {
			files[i] = filepath.Join(env.Dir, f)
		}
	}
	d.files = files
	if err := d.refresh(); err != nil {
		return nil, err
	}
	if err := d.credentials(ctx, env); err != nil {
		return nil, err
	}
	return d, nil
}

// refresh reads the known_hosts files if they have changed.
func (d *dialer) refresh() error {
	stamp := ""
	for _, f := range d.files {
		if info, err := os.Stat(f); err == nil {
			stamp += fmt.Sprintf("%s %d %d\n", f, info.Size(), info.ModTime().UnixNano())
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known != nil && stamp == d.stamp {
		return nil
	}
	known, err := client.LoadKnownHosts(d.files...)
	if err != nil {
		return driver.Permanent(fmt.Errorf("knownHosts: %w", err))
	}
	d.known, d.stamp = known, stamp
	return nil
}

// credentials resolves the references.
func (d *dialer) credentials(ctx context.Context, env driver.Environment) error {
	c := d.connect
	if c.Key != "" {
		var key client.Key
		var err error
		if key.Private, err = env.Secret(ctx, c.Key); err != nil {
			return fmt.Errorf("key: %w", err)
		}
		if key.Passphrase, err = env.Secret(ctx, c.KeyPassphrase); err != nil {
			return fmt.Errorf("keyPassphrase: %w", err)
		}
		cert, err := env.Secret(ctx, c.Certificate)
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		key.Certificate = cert.Reveal()
		if err := client.CheckKey(key); err != nil {
			return driver.Permanent(fmt.Errorf("key: %w", err))
		}
		d.auth.Keys = []client.Key{key}
	}
	d.auth.Agent = c.Agent
	var err error
	if c.Password != "" {
		if d.auth.Password, err = env.Secret(ctx, c.Password); err != nil {
			return fmt.Errorf("password: %w", err)
		}
	}
	if c.Sudo != nil && !c.Sudo.off {
		d.sudo = &client.Sudo{User: c.Sudo.User}
		if c.Sudo.Password != "" {
			if d.sudo.Password, err = env.Secret(ctx, c.Sudo.Password); err != nil {
				return fmt.Errorf("sudo.password: %w", err)
			}
		}
	}
	return nil
}

// target gives the way to a host.
func (d *dialer) target(h *inventory.Host) (*client.Target, error) {
	user, port := cmp.Or(h.User, d.connect.User, "root"), cmp.Or(h.Port, d.connect.Port, 22)
	jumps := h.Jump
	if len(jumps) == 0 {
		jumps = d.connect.Jump
	}
	d.mu.Lock()
	known := d.known
	d.mu.Unlock()
	var before *client.Target
	for _, j := range jumps {
		who, addr, err := parseJump(j, cmp.Or(d.connect.User, "root"), 22)
		if err != nil {
			return nil, driver.Permanent(fmt.Errorf("host %s: jump: %w", h.Name, err))
		}
		before = &client.Target{Name: j, Addr: addr, User: who, Auth: d.auth, KnownHosts: known, Jump: before, ConnectTimeout: d.connect.Timeout}
	}
	return &client.Target{Name: h.Name, Addr: net.JoinHostPort(h.Address, strconv.Itoa(port)), User: user, Auth: d.auth,
		KnownHosts: known, Jump: before, ConnectTimeout: d.connect.Timeout}, nil
}

// transport gives the seam to a host.
func (d *dialer) transport(h *inventory.Host) (transport, error) {
	t, err := d.target(h)
	if err != nil {
		return nil, err
	}
	return &remote{pool: d.pool, target: t, sudo: d.sudo}, nil
}
