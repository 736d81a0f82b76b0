-- +goose Up
-- Times are microseconds since 1970 in UTC; 0 or NULL is never.

CREATE TABLE counters (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('token', 0), ('event', 0);

CREATE TABLE work (
    kind        TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    slot        TEXT COLLATE "C" NOT NULL,
    class       BIGINT NOT NULL,
    generation  BIGINT NOT NULL,
    observed    BIGINT NOT NULL DEFAULT 0,
    due_at      BIGINT,
    attempts    BIGINT NOT NULL DEFAULT 0,
    payload     TEXT COLLATE "C",
    owner       TEXT COLLATE "C" NOT NULL DEFAULT '',
    token       BIGINT NOT NULL DEFAULT 0,
    lease_until BIGINT NOT NULL DEFAULT 0,
    reap_at     BIGINT NOT NULL DEFAULT 0,
    run_class   BIGINT NOT NULL DEFAULT 3,
    cancel_by   TEXT COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (kind, key)
);
CREATE INDEX work_due ON work (kind, slot, class, due_at) WHERE owner = '' AND due_at IS NOT NULL;
CREATE INDEX work_leased ON work (reap_at, slot, run_class) WHERE owner <> '';
-- Rows of the queue change all the time: clean up early, look again often.
ALTER TABLE work SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE triggers (
    kind       TEXT COLLATE "C" NOT NULL,
    key        TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    class      BIGINT NOT NULL,
    cause      TEXT COLLATE "C" NOT NULL,
    actor      TEXT COLLATE "C" NOT NULL,
    commit_id  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, key, generation)
);
CREATE INDEX triggers_at ON triggers (at);

CREATE TABLE targets (
    id             TEXT COLLATE "C" PRIMARY KEY,
    repository     TEXT COLLATE "C" NOT NULL,
    manifest       TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    environment    TEXT COLLATE "C" NOT NULL,
    config         TEXT COLLATE "C",
    state          TEXT COLLATE "C" NOT NULL,
    phase          TEXT COLLATE "C" NOT NULL,
    desired_source TEXT COLLATE "C" NOT NULL,
    desired        TEXT COLLATE "C" NOT NULL,
    status         TEXT COLLATE "C" NOT NULL,
    claims_digest  TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX targets_repository ON targets (repository, id);
CREATE INDEX targets_environment ON targets (environment, id);
CREATE INDEX targets_phase ON targets (phase, id);

CREATE TABLE repositories (
    name      TEXT COLLATE "C" PRIMARY KEY,
    doc       TEXT COLLATE "C" NOT NULL,
    manifests TEXT COLLATE "C"
);

CREATE TABLE runs (
    id          TEXT COLLATE "C" PRIMARY KEY,
    target      TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    repository  TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL,
    started     BIGINT NOT NULL,
    finished    BIGINT NOT NULL,
    doc         TEXT COLLATE "C" NOT NULL
);
CREATE INDEX runs_target ON runs (target, id);
CREATE INDEX runs_environment ON runs (environment, id);
CREATE INDEX runs_repository ON runs (repository, id);
CREATE INDEX runs_active ON runs (id) WHERE state = 'running';
CREATE INDEX runs_started ON runs (started);

CREATE TABLE results (
    run  TEXT COLLATE "C" NOT NULL,
    seq  BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE TABLE logs (
    run  TEXT COLLATE "C" NOT NULL,
    seq  BIGINT NOT NULL,
    at   BIGINT NOT NULL,
    text TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE TABLE plans (
    run    TEXT COLLATE "C" PRIMARY KEY,
    target TEXT COLLATE "C" NOT NULL,
    hash   TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX plans_hash ON plans (target, hash, at);

CREATE TABLE plan_chunks (
    run  TEXT COLLATE "C" NOT NULL,
    part TEXT COLLATE "C" NOT NULL,
    seq  BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (run, part, seq)
);

CREATE TABLE inventory (
    target       TEXT COLLATE "C" NOT NULL,
    scope        TEXT COLLATE "C" NOT NULL,
    address      TEXT COLLATE "C" NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL DEFAULT '',
    class        TEXT COLLATE "C" NOT NULL DEFAULT '',
    weight       BIGINT NOT NULL DEFAULT 0,
    realm        TEXT COLLATE "C" NOT NULL DEFAULT '',
    hash         TEXT COLLATE "C" NOT NULL DEFAULT '',
    last_applied TEXT COLLATE "C",
    source       TEXT COLLATE "C" NOT NULL DEFAULT '',
    run          TEXT COLLATE "C" NOT NULL DEFAULT '',
    mark         TEXT COLLATE "C" NOT NULL DEFAULT '',
    fresh        BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (target, scope, address)
);
CREATE INDEX inventory_address ON inventory (address);

CREATE TABLE claims (
    realm   TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C" NOT NULL,
    prefix  BIGINT NOT NULL,
    target  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (realm, prefix, address)
);
CREATE INDEX claims_target ON claims (target, realm);

CREATE TABLE approvals (
    id        TEXT COLLATE "C" PRIMARY KEY,
    target    TEXT COLLATE "C" NOT NULL,
    digest    TEXT COLLATE "C" NOT NULL,
    plan_hash TEXT COLLATE "C" NOT NULL,
    at        BIGINT NOT NULL,
    doc       TEXT COLLATE "C" NOT NULL
);
CREATE INDEX approvals_plan ON approvals (target, digest, plan_hash, at);

CREATE TABLE outputs (
    target TEXT COLLATE "C" NOT NULL,
    name   TEXT COLLATE "C" NOT NULL,
    doc    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (target, name)
);

CREATE TABLE events (
    seq    BIGINT PRIMARY KEY,
    at     BIGINT NOT NULL,
    actor  TEXT COLLATE "C" NOT NULL,
    kind   TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    run    TEXT COLLATE "C" NOT NULL,
    data   TEXT COLLATE "C"
);
CREATE INDEX events_at ON events (at);

CREATE TABLE holds (
    kind TEXT COLLATE "C" NOT NULL,
    key  TEXT COLLATE "C" NOT NULL,
    doc  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, key)
);

CREATE TABLE blobs (
    id   TEXT COLLATE "C" PRIMARY KEY,
    at   BIGINT NOT NULL,
    gzip BIGINT NOT NULL,
    body BYTEA NOT NULL
);

CREATE TABLE states (
    target    TEXT COLLATE "C" NOT NULL,
    commit_id TEXT COLLATE "C" NOT NULL,
    kind      TEXT COLLATE "C" NOT NULL,
    at        BIGINT NOT NULL,
    body      BYTEA NOT NULL,
    PRIMARY KEY (target, commit_id)
);

CREATE TABLE state_blobs (
    blob      TEXT COLLATE "C" NOT NULL,
    target    TEXT COLLATE "C" NOT NULL,
    commit_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (blob, target, commit_id)
);
CREATE INDEX state_blobs_state ON state_blobs (target, commit_id);

CREATE TABLE fingerprints (
    target TEXT COLLATE "C" PRIMARY KEY,
    digest TEXT COLLATE "C" NOT NULL,
    doc    TEXT COLLATE "C" NOT NULL
);

CREATE TABLE configs (
    version BIGINT PRIMARY KEY,
    digest  TEXT COLLATE "C" NOT NULL,
    actor   TEXT COLLATE "C" NOT NULL,
    at      BIGINT NOT NULL,
    body    BYTEA NOT NULL
);

CREATE TABLE secret_keys (
    name   TEXT COLLATE "C" PRIMARY KEY,
    sealed TEXT COLLATE "C" NOT NULL
);
