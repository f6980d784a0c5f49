-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_tokens_expires ON gatebook_tokens (expires);

-- +goose Down
DROP INDEX IF EXISTS gatebook_tokens_expires;
