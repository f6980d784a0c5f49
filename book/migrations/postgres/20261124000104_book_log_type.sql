-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_log_type ON gatebook_log (type, seq);

-- +goose Down
DROP INDEX IF EXISTS gatebook_log_type;
