package sql

import (
	"context"
	dbsql "database/sql"
	"fmt"
	"slices"
	"time"

	"trueup.dev/trueup/internal/store"
)

// deadMail is how long after its end a request that nobody dropped is kept:
// its run died.
const deadMail = 10 * time.Minute

func requestLabel(id string) string { return "agent request " + id }

// PutRequest puts a request before a host's agent.
func (d *DB) PutRequest(ctx context.Context, r store.AgentRequest) error {
	key, body, err := d.keys.seal(requestLabel(r.ID), r.Body)
	if err != nil {
		return err
	}
	err = d.soon(ctx, func(t *tx) error {
		if err := t.sweepMail(); err != nil {
			return err
		}
		_, err := t.exec("INSERT INTO agent_requests (id, host, generation, state, until, key_id, body) VALUES (?, ?, ?, ?, {now} + ?, ?, ?)",
			r.ID, r.Host, r.Generation, string(store.AskWaiting), r.Life.Microseconds(), key, body)
		if err != nil {
			return err
		}
		return t.ringOthers(store.TopicHost(r.Host))
	})
	if err == nil {
		d.bells.ring(store.TopicHost(r.Host))
	}
	return err
}

func (t *tx) sweepMail() error {
	const dead = "SELECT id FROM agent_requests WHERE until < {now} - ?"
	for _, table := range []string{"agent_messages", "agent_blobs"} {
		if _, err := t.exec("DELETE FROM "+table+" WHERE request IN ("+dead+")", deadMail.Microseconds()); err != nil {
			return err
		}
	}
	_, err := t.exec("DELETE FROM agent_requests WHERE until < {now} - ?", deadMail.Microseconds())
	return err
}

// Follow keeps a request alive and gives what came.
func (d *DB) Follow(ctx context.Context, id string, f store.AgentFollow) (store.AgentProgress, error) {
	var out store.AgentProgress
	var host string
	err := d.soon(ctx, func(t *tx) error {
		var state string
		err := t.get([]any{&host, &state}, `UPDATE agent_requests SET until = {now} + ?,
			state = CASE WHEN ? = 1 AND state <> ? THEN ? ELSE state END WHERE id = ? RETURNING host, state`,
			f.Life.Microseconds(), number(f.Cancel), string(store.AskLost), string(store.AskCancelled), id)
		if err != nil {
			return fmt.Errorf("request %s: %w", id, err)
		}
		out = store.AgentProgress{State: store.AgentRequestState(state)}
		if out.Now, err = t.now(); err != nil {
			return err
		}
		var seen int64
		if err := t.get([]any{&seen}, "SELECT seen_at FROM agents WHERE host = ?", host); err != nil {
			return err
		}
		out.SeenAt = fromMicros(seen)
		if f.Cancel {
			if err := t.ringOthers(store.TopicHost(host)); err != nil {
				return err
			}
		}
		return t.messages(id, f.After, &out.Messages)
	})
	if err == nil && f.Cancel {
		d.bells.ring(store.TopicHost(host))
	}
	return out, err
}

func (t *tx) messages(id string, after int64, into *[]store.AgentMessage) error {
	return t.each(func(r *dbsql.Rows) error {
		var m store.AgentMessage
		var key string
		var sealed []byte
		if err := r.Scan(&m.Seq, &key, &sealed); err != nil {
			return err
		}
		var err error
		m.Body, err = t.d.keys.open(key, messageLabel(id, m.Seq), sealed)
		*into = append(*into, m)
		return err
	}, "SELECT seq, key_id, body FROM agent_messages WHERE request = ? AND seq > ? AND acked = 0 ORDER BY seq", id, after)
}

func messageLabel(id string, seq int64) string { return fmt.Sprintf("agent message %s %d", id, seq) }

// Ack answers a message, which is not kept any longer.
func (d *DB) Ack(ctx context.Context, id string, seq int64, refusal string) error {
	err := d.soon(ctx, func(t *tx) error {
		err := t.one(fmt.Sprintf("message %d of request %s", seq, id),
			"UPDATE agent_messages SET acked = 1, refusal = ?, body = ? WHERE request = ? AND seq = ?", text(refusal), []byte{}, id, seq)
		if err != nil {
			return err
		}
		return t.ringOthers(store.TopicAck(id))
	})
	if err == nil {
		d.bells.ring(store.TopicAck(id))
	}
	return err
}

// EndRequest drops a request with all that belongs to it.
func (d *DB) EndRequest(ctx context.Context, id string) error {
	err := d.soon(ctx, func(t *tx) error {
		for _, q := range []string{"DELETE FROM agent_messages WHERE request = ?", "DELETE FROM agent_blobs WHERE request = ?", "DELETE FROM agent_requests WHERE id = ?"} {
			if _, err := t.exec(q, id); err != nil {
				return err
			}
		}
		return t.ringOthers(store.TopicAck(id))
	})
	if err == nil {
		d.bells.ring(store.TopicAck(id))
	}
	return err
}

// TakeRequest hands the oldest waiting request to the agent's process.
func (d *DB) TakeRequest(ctx context.Context, host, boot string, have []string) (store.AgentRequest, error) {
	var out store.AgentRequest
	lost := false
	err := d.soon(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE agent_requests SET state = ? WHERE host = ? AND boot <> '' AND boot <> ? AND state <> ?",
			string(store.AskLost), host, boot, string(store.AskLost))
		if err != nil {
			return err
		}
		lost = n > 0
		id, err := t.nextRequest(host, boot, have)
		if err != nil || id == "" {
			return err // what is lost must be kept
		}
		out = store.AgentRequest{ID: id, Host: host, State: store.AskTaken}
		var key string
		var sealed []byte
		err = t.get([]any{&out.Generation, &key, &sealed}, "UPDATE agent_requests SET state = ?, boot = ? WHERE id = ? RETURNING generation, key_id, body",
			string(store.AskTaken), boot, id)
		if err != nil {
			return err
		}
		out.Body, err = d.keys.open(key, requestLabel(id), sealed)
		return err
	})
	if err == nil && out.ID == "" {
		err = fmt.Errorf("a request for %s: %w", host, store.ErrNotFound)
	}
	if lost {
		d.bells.ringAll()
	}
	return out, err
}

// nextRequest finds the oldest request that the agent's process should have
// and does not; "" for none.
func (t *tx) nextRequest(host, boot string, have []string) (string, error) {
	found := ""
	err := t.each(func(r *dbsql.Rows) error {
		var id string
		err := r.Scan(&id)
		if found == "" && !slices.Contains(have, id) {
			found = id
		}
		return err
	}, `SELECT id FROM agent_requests WHERE host = ? AND (state = ? OR state = ? AND boot = ?) AND until > {now}
		AND EXISTS (SELECT 1 FROM agents a WHERE a.host = agent_requests.host AND a.state = ? AND a.boot = ?)
		ORDER BY generation LIMIT 100{update}`,
		host, string(store.AskWaiting), string(store.AskTaken), boot, string(store.AgentActive), boot)
	return found, err
}

// RequestState tells whether a request is still wanted.
func (d *DB) RequestState(ctx context.Context, host, id string) (store.AgentRequestState, error) {
	var state string
	err := d.view(ctx, func(t *tx) error { return t.requestState(host, id, &state) })
	return store.AgentRequestState(state), err
}

func (t *tx) requestState(host, id string, state *string) error {
	err := t.get([]any{state}, `SELECT state FROM agent_requests WHERE id = ? AND host = ? AND until > {now}
		AND EXISTS (SELECT 1 FROM agents a WHERE a.host = agent_requests.host AND a.state = ?)`, id, host, string(store.AgentActive))
	if err != nil {
		return fmt.Errorf("request %s for %s: %w", id, host, err)
	}
	return nil
}

// AddMessage keeps a message once, and gives what the run said to it.
func (d *DB) AddMessage(ctx context.Context, host, id string, m store.AgentMessage) (store.AgentAck, error) {
	key, body, err := d.keys.seal(messageLabel(id, m.Seq), m.Body)
	if err != nil {
		return store.AgentAck{}, err
	}
	var ack store.AgentAck
	err = d.soon(ctx, func(t *tx) error {
		var state string
		if err := t.requestState(host, id, &state); err != nil {
			return err
		}
		_, err := t.exec("INSERT INTO agent_messages (request, seq, key_id, body) VALUES (?, ?, ?, ?) ON CONFLICT (request, seq) DO NOTHING", id, m.Seq, key, body)
		if err != nil {
			return err
		}
		var acked int
		if err := t.get([]any{&acked, &ack.Refusal}, "SELECT acked, refusal FROM agent_messages WHERE request = ? AND seq = ?", id, m.Seq); err != nil {
			return err
		}
		ack.Acked, ack.State = acked != 0, store.AgentRequestState(state)
		if ack.Acked {
			return nil
		}
		return t.ringOthers(store.TopicRun(id))
	})
	if err == nil && !ack.Acked {
		d.bells.ring(store.TopicRun(id))
	}
	return ack, err
}
