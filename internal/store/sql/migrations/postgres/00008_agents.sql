-- +goose Up
-- Agents: processes on hosts that call in. Keys are public ones; of tokens
-- only the hash is kept.
CREATE TABLE agents (
    host        TEXT COLLATE "C" PRIMARY KEY,
    public_key  TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL,
    enrolled_at BIGINT NOT NULL,
    enrolled_by TEXT COLLATE "C" NOT NULL,
    expires_at  BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL DEFAULT 0,
    version     TEXT COLLATE "C" NOT NULL DEFAULT '',
    boot        TEXT COLLATE "C" NOT NULL DEFAULT '',
    address     TEXT COLLATE "C" NOT NULL DEFAULT '',
    generation  BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE agent_tokens (
    hash       TEXT COLLATE "C" NOT NULL,
    host       TEXT COLLATE "C" NOT NULL,
    actor      TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (hash, host)
);

CREATE TABLE agent_nonces (
    host  TEXT COLLATE "C" NOT NULL,
    nonce TEXT COLLATE "C" NOT NULL,
    at    BIGINT NOT NULL,
    PRIMARY KEY (host, nonce)
);

-- +goose Down
DROP TABLE agent_nonces;
DROP TABLE agent_tokens;
DROP TABLE agents;
