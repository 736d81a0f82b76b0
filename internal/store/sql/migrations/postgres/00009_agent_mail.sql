-- +goose Up
-- The mailbox between runs and agents. Requests live as long as the run that
-- made them; bodies are sealed.
CREATE TABLE agent_requests (
    id         TEXT COLLATE "C" PRIMARY KEY,
    host       TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    boot       TEXT COLLATE "C" NOT NULL DEFAULT '',
    until      BIGINT NOT NULL,
    key_id     TEXT COLLATE "C" NOT NULL,
    body       BYTEA NOT NULL
);
CREATE INDEX agent_requests_host ON agent_requests (host, generation);

CREATE TABLE agent_messages (
    request TEXT COLLATE "C" NOT NULL,
    seq     BIGINT NOT NULL,
    acked   BIGINT NOT NULL DEFAULT 0,
    refusal TEXT COLLATE "C" NOT NULL DEFAULT '',
    key_id  TEXT COLLATE "C" NOT NULL,
    body    BYTEA NOT NULL,
    PRIMARY KEY (request, seq)
);

CREATE TABLE agent_blobs (
    request TEXT COLLATE "C" NOT NULL,
    sum     TEXT COLLATE "C" NOT NULL,
    key_id  TEXT COLLATE "C" NOT NULL,
    body    BYTEA NOT NULL,
    PRIMARY KEY (request, sum)
);

-- What agents did alone and no run has recorded yet.
CREATE TABLE agent_corrections (
    id     TEXT COLLATE "C" PRIMARY KEY,
    host   TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    body   BYTEA NOT NULL
);
CREATE INDEX agent_corrections_target ON agent_corrections (target, at);

-- +goose Down
DROP TABLE agent_corrections;
DROP TABLE agent_blobs;
DROP TABLE agent_messages;
DROP TABLE agent_requests;
