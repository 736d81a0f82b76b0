-- +goose Up
-- Agents: processes on hosts that call in. Keys are public ones; of tokens
-- only the hash is kept.
CREATE TABLE agents (
    host        TEXT PRIMARY KEY,
    public_key  TEXT NOT NULL,
    state       TEXT NOT NULL,
    enrolled_at INTEGER NOT NULL,
    enrolled_by TEXT NOT NULL,
    expires_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL DEFAULT 0,
    version     TEXT NOT NULL DEFAULT '',
    boot        TEXT NOT NULL DEFAULT '',
    address     TEXT NOT NULL DEFAULT '',
    generation  INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE agent_tokens (
    hash       TEXT NOT NULL,
    host       TEXT NOT NULL,
    actor      TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hash, host)
) WITHOUT ROWID;

CREATE TABLE agent_nonces (
    host  TEXT NOT NULL,
    nonce TEXT NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (host, nonce)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE agent_nonces;
DROP TABLE agent_tokens;
DROP TABLE agents;
