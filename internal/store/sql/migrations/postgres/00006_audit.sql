-- +goose Up
-- Events are chained by hash and signed. Those from before have neither.
ALTER TABLE events ADD COLUMN hash TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN sig TEXT COLLATE "C" NOT NULL DEFAULT '';
-- The counter of events has the newest one's hash and time.
ALTER TABLE counters ADD COLUMN hash TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE counters ADD COLUMN at BIGINT NOT NULL DEFAULT 0;

-- The last event that was dropped: the chain begins behind it.
CREATE TABLE audit_anchor (
    id   BIGINT PRIMARY KEY,
    seq  BIGINT NOT NULL,
    at   BIGINT NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    sig  TEXT COLLATE "C" NOT NULL
);

-- +goose Down
DROP TABLE audit_anchor;
ALTER TABLE counters DROP COLUMN at;
ALTER TABLE counters DROP COLUMN hash;
ALTER TABLE events DROP COLUMN sig;
ALTER TABLE events DROP COLUMN hash;
