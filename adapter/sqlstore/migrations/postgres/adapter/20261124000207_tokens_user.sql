-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_tokens_user ON gatebook_tokens (user_id);

-- +goose Down
DROP INDEX IF EXISTS gatebook_tokens_user;
