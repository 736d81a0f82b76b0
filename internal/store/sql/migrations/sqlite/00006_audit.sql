-- +goose Up
-- Events are chained by hash and signed. Those from before have neither.
ALTER TABLE events ADD COLUMN hash TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN sig TEXT NOT NULL DEFAULT '';
-- The counter of events has the newest one's hash and time.
ALTER TABLE counters ADD COLUMN hash TEXT NOT NULL DEFAULT '';
ALTER TABLE counters ADD COLUMN at INTEGER NOT NULL DEFAULT 0;

-- The last event that was dropped: the chain begins behind it.
CREATE TABLE audit_anchor (
    id   INTEGER PRIMARY KEY,
    seq  INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    hash TEXT NOT NULL,
    sig  TEXT NOT NULL
);

-- +goose Down
DROP TABLE audit_anchor;
ALTER TABLE counters DROP COLUMN at;
ALTER TABLE counters DROP COLUMN hash;
ALTER TABLE events DROP COLUMN sig;
ALTER TABLE events DROP COLUMN hash;
