-- +goose Up
-- A run starts by looking for runs of its target that a dead process left.
CREATE INDEX runs_target_active ON runs (target, id) WHERE state = 'running';

-- +goose Down
DROP INDEX runs_target_active;
