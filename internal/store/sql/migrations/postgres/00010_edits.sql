-- +goose Up
CREATE TABLE edits (
    kind       TEXT COLLATE "C" NOT NULL,
    target     TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    at         BIGINT NOT NULL,
    doc        TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, target)
);
CREATE INDEX edits_repository ON edits (repository, kind, target);

-- +goose Down
DROP TABLE edits;
