-- +goose Up
CREATE TABLE pulls (
    repository TEXT COLLATE "C" NOT NULL,
    number     BIGINT NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    head       TEXT COLLATE "C" NOT NULL,
    updated_at BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    landed     TEXT COLLATE "C" NOT NULL,
    doc        TEXT COLLATE "C",
    PRIMARY KEY (repository, number)
);
CREATE INDEX pulls_state ON pulls (repository, state, number);
CREATE INDEX pulls_landed ON pulls (repository, landed) WHERE landed <> '';

CREATE TABLE landings (
    repository TEXT COLLATE "C" NOT NULL,
    commit_id  TEXT COLLATE "C" NOT NULL,
    at         BIGINT NOT NULL,
    final      BIGINT NOT NULL DEFAULT 0,
    doc        TEXT COLLATE "C" NOT NULL,
    origin     TEXT COLLATE "C",
    PRIMARY KEY (repository, commit_id)
);
CREATE INDEX landings_at ON landings (repository, at);

CREATE TABLE sayings (
    repository TEXT COLLATE "C" NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    at         BIGINT NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    hash       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (repository, subject)
);
CREATE INDEX sayings_at ON sayings (at);

-- +goose Down
DROP TABLE sayings;
DROP TABLE landings;
DROP TABLE pulls;
