-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_verification_token ON "verificationToken" ("token");

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
