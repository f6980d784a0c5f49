-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_sessions_user ON gatebook_sessions (user_id);

-- +goose Down
DROP INDEX IF EXISTS gatebook_sessions_user;
