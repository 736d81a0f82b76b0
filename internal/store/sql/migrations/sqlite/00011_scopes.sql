-- +goose Up
-- What is known of each scope (host) of the targets that have several.
CREATE TABLE scopes (
    target    TEXT NOT NULL,
    scope     TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    doc       TEXT NOT NULL,
    PRIMARY KEY (target, scope)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE scopes;
