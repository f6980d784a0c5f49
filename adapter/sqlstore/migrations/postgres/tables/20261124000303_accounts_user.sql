-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_account_user ON "account" ("userId");

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
