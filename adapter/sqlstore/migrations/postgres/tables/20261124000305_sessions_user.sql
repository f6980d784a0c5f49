-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_session_user ON "session" ("userId");

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
