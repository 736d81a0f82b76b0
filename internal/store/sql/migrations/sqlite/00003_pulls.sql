-- +goose Up
CREATE TABLE pulls (
    repository TEXT NOT NULL,
    number     INTEGER NOT NULL,
    state      TEXT NOT NULL,
    head       TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    landed     TEXT NOT NULL,
    doc        TEXT,
    PRIMARY KEY (repository, number)
);
CREATE INDEX pulls_state ON pulls (repository, state, number);
CREATE INDEX pulls_landed ON pulls (repository, landed) WHERE landed <> '';

CREATE TABLE landings (
    repository TEXT NOT NULL,
    commit_id  TEXT NOT NULL,
    at         INTEGER NOT NULL,
    final      INTEGER NOT NULL DEFAULT 0,
    doc        TEXT NOT NULL,
    origin     TEXT,
    PRIMARY KEY (repository, commit_id)
);
CREATE INDEX landings_at ON landings (repository, at);

CREATE TABLE sayings (
    repository TEXT NOT NULL,
    subject    TEXT NOT NULL,
    at         INTEGER NOT NULL,
    id         TEXT NOT NULL,
    hash       TEXT NOT NULL,
    PRIMARY KEY (repository, subject)
);
CREATE INDEX sayings_at ON sayings (at);

-- +goose Down
DROP TABLE sayings;
DROP TABLE landings;
DROP TABLE pulls;
