-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_checks_expires ON gatebook_checks (expires);

-- +goose Down
DROP INDEX IF EXISTS gatebook_checks_expires;
