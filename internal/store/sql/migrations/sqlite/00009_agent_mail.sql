-- +goose Up
-- The mailbox between runs and agents. Requests live as long as the run that
-- made them; bodies are sealed.
CREATE TABLE agent_requests (
    id         TEXT PRIMARY KEY,
    host       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    state      TEXT NOT NULL,
    boot       TEXT NOT NULL DEFAULT '',
    until      INTEGER NOT NULL,
    key_id     TEXT NOT NULL,
    body       BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX agent_requests_host ON agent_requests (host, generation);

CREATE TABLE agent_messages (
    request TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    acked   INTEGER NOT NULL DEFAULT 0,
    refusal TEXT NOT NULL DEFAULT '',
    key_id  TEXT NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (request, seq)
);

CREATE TABLE agent_blobs (
    request TEXT NOT NULL,
    sum     TEXT NOT NULL,
    key_id  TEXT NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (request, sum)
);

-- What agents did alone and no run has recorded yet.
CREATE TABLE agent_corrections (
    id     TEXT PRIMARY KEY,
    host   TEXT NOT NULL,
    target TEXT NOT NULL,
    at     INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    body   BLOB NOT NULL
);
CREATE INDEX agent_corrections_target ON agent_corrections (target, at);

-- +goose Down
DROP TABLE agent_corrections;
DROP TABLE agent_blobs;
DROP TABLE agent_messages;
DROP TABLE agent_requests;
