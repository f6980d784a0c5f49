-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_log_recorded_at ON gatebook_log (recorded_at, seq);

-- +goose Down
DROP INDEX IF EXISTS gatebook_log_recorded_at;
