-- +goose Up
-- What is known of each scope (host) of the targets that have several.
CREATE TABLE scopes (
    target    TEXT COLLATE "C" NOT NULL,
    scope     TEXT COLLATE "C" NOT NULL,
    commit_id TEXT COLLATE "C" NOT NULL,
    doc       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (target, scope)
);

-- +goose Down
DROP TABLE scopes;
