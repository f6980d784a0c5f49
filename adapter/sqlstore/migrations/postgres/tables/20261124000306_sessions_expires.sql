-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_session_expires ON "session" ("expires");

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
