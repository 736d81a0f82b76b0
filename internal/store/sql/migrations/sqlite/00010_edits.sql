-- +goose Up
CREATE TABLE edits (
    kind       TEXT NOT NULL,
    target     TEXT NOT NULL,
    repository TEXT NOT NULL,
    at         INTEGER NOT NULL,
    doc        TEXT NOT NULL,
    PRIMARY KEY (kind, target)
);
CREATE INDEX edits_repository ON edits (repository, kind, target);

-- +goose Down
DROP TABLE edits;
