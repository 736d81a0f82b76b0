-- +goose Up
-- Times are microseconds since 1970 in UTC; 0 or NULL is never.

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('token', 0), ('event', 0);

CREATE TABLE work (
    kind        TEXT NOT NULL,
    key         TEXT NOT NULL,
    slot        TEXT NOT NULL,
    class       INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    observed    INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER,
    attempts    INTEGER NOT NULL DEFAULT 0,
    payload     TEXT,
    owner       TEXT NOT NULL DEFAULT '',
    token       INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER NOT NULL DEFAULT 0,
    reap_at     INTEGER NOT NULL DEFAULT 0,
    run_class   INTEGER NOT NULL DEFAULT 3,
    cancel_by   TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (kind, key)
);
CREATE INDEX work_due ON work (kind, slot, class, due_at) WHERE owner = '' AND due_at IS NOT NULL;
CREATE INDEX work_leased ON work (reap_at, slot, run_class) WHERE owner <> '';

CREATE TABLE triggers (
    kind       TEXT NOT NULL,
    key        TEXT NOT NULL,
    generation INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    class      INTEGER NOT NULL,
    cause      TEXT NOT NULL,
    actor      TEXT NOT NULL,
    commit_id  TEXT NOT NULL,
    PRIMARY KEY (kind, key, generation)
) WITHOUT ROWID;
CREATE INDEX triggers_at ON triggers (at);

CREATE TABLE targets (
    id             TEXT PRIMARY KEY,
    repository     TEXT NOT NULL,
    manifest       TEXT NOT NULL,
    name           TEXT NOT NULL,
    environment    TEXT NOT NULL,
    config         TEXT,
    state          TEXT NOT NULL,
    phase          TEXT NOT NULL,
    desired_source TEXT NOT NULL,
    desired        TEXT NOT NULL,
    status         TEXT NOT NULL,
    claims_digest  TEXT NOT NULL DEFAULT ''
);
CREATE INDEX targets_repository ON targets (repository, id);
CREATE INDEX targets_environment ON targets (environment, id);
CREATE INDEX targets_phase ON targets (phase, id);

CREATE TABLE repositories (
    name      TEXT PRIMARY KEY,
    doc       TEXT NOT NULL,
    manifests TEXT
);

CREATE TABLE runs (
    id          TEXT PRIMARY KEY,
    target      TEXT NOT NULL,
    environment TEXT NOT NULL,
    repository  TEXT NOT NULL,
    state       TEXT NOT NULL,
    started     INTEGER NOT NULL,
    finished    INTEGER NOT NULL,
    doc         TEXT NOT NULL
);
CREATE INDEX runs_target ON runs (target, id);
CREATE INDEX runs_environment ON runs (environment, id);
CREATE INDEX runs_repository ON runs (repository, id);
CREATE INDEX runs_active ON runs (id) WHERE state = 'running';
CREATE INDEX runs_started ON runs (started);

CREATE TABLE results (
    run  TEXT NOT NULL,
    seq  INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE TABLE logs (
    run  TEXT NOT NULL,
    seq  INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;

CREATE TABLE plans (
    run    TEXT PRIMARY KEY,
    target TEXT NOT NULL,
    hash   TEXT NOT NULL,
    at     INTEGER NOT NULL,
    key_id TEXT NOT NULL DEFAULT ''
);
CREATE INDEX plans_hash ON plans (target, hash, at);

CREATE TABLE plan_chunks (
    run  TEXT NOT NULL,
    part TEXT NOT NULL,
    seq  INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (run, part, seq)
);

CREATE TABLE inventory (
    target       TEXT NOT NULL,
    scope        TEXT NOT NULL,
    address      TEXT NOT NULL,
    kind         TEXT NOT NULL DEFAULT '',
    class        TEXT NOT NULL DEFAULT '',
    weight       INTEGER NOT NULL DEFAULT 0,
    realm        TEXT NOT NULL DEFAULT '',
    hash         TEXT NOT NULL DEFAULT '',
    last_applied TEXT,
    source       TEXT NOT NULL DEFAULT '',
    run          TEXT NOT NULL DEFAULT '',
    mark         TEXT NOT NULL DEFAULT '',
    fresh        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (target, scope, address)
) WITHOUT ROWID;
CREATE INDEX inventory_address ON inventory (address);

CREATE TABLE claims (
    realm   TEXT NOT NULL,
    address TEXT NOT NULL,
    prefix  INTEGER NOT NULL,
    target  TEXT NOT NULL,
    PRIMARY KEY (realm, prefix, address)
) WITHOUT ROWID;
CREATE INDEX claims_target ON claims (target, realm);

CREATE TABLE approvals (
    id        TEXT PRIMARY KEY,
    target    TEXT NOT NULL,
    digest    TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    at        INTEGER NOT NULL,
    doc       TEXT NOT NULL
);
CREATE INDEX approvals_plan ON approvals (target, digest, plan_hash, at);

CREATE TABLE outputs (
    target TEXT NOT NULL,
    name   TEXT NOT NULL,
    doc    TEXT NOT NULL,
    PRIMARY KEY (target, name)
);

CREATE TABLE events (
    seq    INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    kind   TEXT NOT NULL,
    target TEXT NOT NULL,
    run    TEXT NOT NULL,
    data   TEXT
);
CREATE INDEX events_at ON events (at);

CREATE TABLE holds (
    kind TEXT NOT NULL,
    key  TEXT NOT NULL,
    doc  TEXT NOT NULL,
    PRIMARY KEY (kind, key)
);

CREATE TABLE blobs (
    id   TEXT PRIMARY KEY,
    at   INTEGER NOT NULL,
    gzip INTEGER NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE states (
    target    TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    kind      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    body      BLOB NOT NULL,
    PRIMARY KEY (target, commit_id)
);

CREATE TABLE state_blobs (
    blob      TEXT NOT NULL,
    target    TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    PRIMARY KEY (blob, target, commit_id)
) WITHOUT ROWID;
CREATE INDEX state_blobs_state ON state_blobs (target, commit_id);

CREATE TABLE fingerprints (
    target TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    doc    TEXT NOT NULL
);

CREATE TABLE configs (
    version INTEGER PRIMARY KEY,
    digest  TEXT NOT NULL,
    actor   TEXT NOT NULL,
    at      INTEGER NOT NULL,
    body    BLOB NOT NULL
);

CREATE TABLE secret_keys (
    name   TEXT PRIMARY KEY,
    sealed TEXT NOT NULL
);
