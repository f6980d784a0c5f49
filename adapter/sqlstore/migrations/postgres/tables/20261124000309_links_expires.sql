-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_verification_expires ON "verificationToken" ("expires");

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
