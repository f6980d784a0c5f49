-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_log_outcome ON gatebook_log (outcome, seq) WHERE outcome <> 'success';

-- +goose Down
DROP INDEX IF EXISTS gatebook_log_outcome;
