-- +goose Up
CREATE TABLE IF NOT EXISTS "verificationToken" (
	"identifier" text NOT NULL,
	"token"      text NOT NULL,
	"expires"    timestamp NOT NULL, -- UTC
	PRIMARY KEY ("identifier", "token")
);

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
