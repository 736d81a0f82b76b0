package sql

import (
	"context"
	dbsql "database/sql"
	"errors"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/store"
)

// PutAgentToken keeps a token for hosts. Tokens that are long over go.
func (d *DB) PutAgentToken(ctx context.Context, tok store.AgentToken) error {
	return d.durable(ctx, func(t *tx) error {
		if _, err := t.exec("DELETE FROM agent_tokens WHERE expires_at < {now} - ?", (24 * time.Hour).Microseconds()); err != nil {
			return err
		}
		return t.batch(len(tok.Hosts), batch{
			head: "INSERT INTO agent_tokens (hash, host, actor, expires_at) VALUES ", tuple: "(?, ?, ?, ?)",
			args: func(i int) []any { return []any{tok.Hash, tok.Hosts[i], string(tok.Actor), micros(tok.ExpiresAt)} },
		})
	})
}

// Enrol uses a token up for a host and takes its agent in.
func (d *DB) Enrol(ctx context.Context, tokenHash string, a store.Agent) (store.Agent, error) {
	var out store.Agent
	err := d.durable(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE agent_tokens SET used_at = {now} WHERE hash = ? AND host = ? AND used_at = 0 AND expires_at > {now}", tokenHash, a.Host)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("a token for %s: %w", a.Host, store.ErrNotFound)
		}
		var by string
		if err := t.get([]any{&by}, "SELECT actor FROM agent_tokens WHERE hash = ? AND host = ?", tokenHash, a.Host); err != nil {
			return err
		}
		// The generation goes on: what an earlier key was sent stays old.
		_, err = t.exec(`INSERT INTO agents (host, public_key, state, enrolled_at, enrolled_by, expires_at) VALUES (?, ?, ?, {now}, ?, ?)
			ON CONFLICT (host) DO UPDATE SET public_key = excluded.public_key, state = excluded.state, enrolled_at = excluded.enrolled_at,
			enrolled_by = excluded.enrolled_by, expires_at = excluded.expires_at, seen_at = 0, boot = '', version = '', address = ''`,
			a.Host, a.PublicKey, string(store.AgentActive), by, micros(a.ExpiresAt))
		if err != nil {
			return err
		}
		if err := t.dropMail(a.Host); err != nil {
			return err
		}
		out, err = t.agent(a.Host)
		return err
	})
	return out, err
}

const agentColumns = "host, public_key, state, enrolled_at, enrolled_by, expires_at, seen_at, version, boot, address, generation"

type scanner interface{ Scan(dest ...any) error }

func scanAgent(r scanner) (store.Agent, error) {
	var a store.Agent
	var enrolled, expires, seen int64
	err := r.Scan(&a.Host, &a.PublicKey, &a.State, &enrolled, &a.EnrolledBy, &expires, &seen, &a.Version, &a.Boot, &a.Address, &a.Generation)
	a.EnrolledAt, a.ExpiresAt, a.SeenAt = fromMicros(enrolled), fromMicros(expires), fromMicros(seen)
	return a, err
}

func (t *tx) agents(where string, args ...any) ([]store.Agent, error) {
	var list []store.Agent
	err := t.each(func(r *dbsql.Rows) error {
		a, err := scanAgent(r)
		list = append(list, a)
		return err
	}, "SELECT "+agentColumns+" FROM agents "+where+" ORDER BY host", args...)
	return list, err
}

func (t *tx) agent(host string) (store.Agent, error) {
	list, err := t.agents("WHERE host = ?", host)
	if err == nil && len(list) == 0 {
		return store.Agent{}, fmt.Errorf("agent %s: %w", host, store.ErrNotFound)
	}
	if err != nil {
		return store.Agent{}, err
	}
	return list[0], nil
}

// Agent gives the agent of a host.
func (d *DB) Agent(ctx context.Context, host string) (store.Agent, error) {
	var a store.Agent
	err := d.view(ctx, func(t *tx) (err error) {
		a, err = t.agent(host)
		return err
	})
	return a, err
}

// Agents lists all agents.
func (d *DB) Agents(ctx context.Context) ([]store.Agent, error) {
	var list []store.Agent
	err := d.view(ctx, func(t *tx) (err error) {
		list, err = t.agents("")
		return err
	})
	return list, err
}

// Called remembers the nonce and that the agent was seen.
func (d *DB) Called(ctx context.Context, c store.AgentCall) error {
	return d.soon(ctx, func(t *tx) error {
		// The time is compared on the way out: a key that was revoked or
		// replaced a moment ago is refused here, whatever was read before.
		err := t.one("agent "+c.Host, `UPDATE agents SET seen_at = {now}, boot = CASE WHEN ? = '' THEN boot ELSE ? END,
			version = ?, address = ? WHERE host = ? AND public_key = ? AND state = ? AND expires_at > {now}`,
			c.Boot, c.Boot, text(c.Version), text(c.Address), c.Host, c.PublicKey, string(store.AgentActive))
		if err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM agent_nonces WHERE host = ? AND at < {now} - ?", c.Host, c.Keep.Microseconds()); err != nil {
			return err
		}
		n, err := t.exec("INSERT INTO agent_nonces (host, nonce, at) VALUES (?, ?, {now}) ON CONFLICT (host, nonce) DO NOTHING", c.Host, c.Nonce)
		if err == nil && n == 0 {
			err = fmt.Errorf("nonce of %s: %w", c.Host, store.ErrConflict)
		}
		return err
	})
}

// Revoke shuts an agent out. It rings for the host, so that waiting calls end.
func (d *DB) Revoke(ctx context.Context, host string) error {
	err := d.durable(ctx, func(t *tx) error {
		if err := t.one("agent "+host, "UPDATE agents SET state = ? WHERE host = ?", string(store.AgentRevoked), host); err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM agent_tokens WHERE host = ?", host); err != nil {
			return err
		}
		if err := t.dropMail(host); err != nil {
			return err
		}
		return t.ringOthers(store.TopicHost(host))
	})
	if err == nil {
		d.bells.ring(store.TopicHost(host))
	}
	return err
}

// RenewAgent replaces a key.
func (d *DB) RenewAgent(ctx context.Context, host, oldKey, newKey string, expires time.Time) error {
	return d.durable(ctx, func(t *tx) error {
		return t.one("agent "+host+" with that key", "UPDATE agents SET public_key = ?, expires_at = ? WHERE host = ? AND public_key = ? AND state = ?",
			newKey, micros(expires), host, oldKey, string(store.AgentActive))
	})
}

// dropMail ends all requests of a host.
func (t *tx) dropMail(host string) error {
	for _, table := range []string{"agent_messages", "agent_blobs"} {
		if _, err := t.exec("DELETE FROM "+table+" WHERE request IN (SELECT id FROM agent_requests WHERE host = ?)", host); err != nil {
			return err
		}
	}
	_, err := t.exec("DELETE FROM agent_requests WHERE host = ?", host)
	return err
}

// NextGeneration gives the number of a host's next request. It follows the
// clock, so that it also grows over a restored backup.
func (d *DB) NextGeneration(ctx context.Context, host string) (int64, error) {
	var n int64
	err := d.soon(ctx, func(t *tx) error {
		now, err := t.now()
		if err != nil {
			return err
		}
		err = t.get([]any{&n}, `UPDATE agents SET generation = CASE WHEN generation >= ? THEN generation + 1 ELSE ? END
			WHERE host = ? AND state = ? RETURNING generation`, micros(now), micros(now), host, string(store.AgentActive))
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("agent %s: %w", host, err)
		}
		return err
	})
	return n, err
}
