-- +goose Up
-- sessionToken is the lower-case hex SHA-256 of the token in the cookie.
CREATE TABLE IF NOT EXISTS "session" (
	"sessionToken" text NOT NULL PRIMARY KEY,
	"userId"       /*id*/ NOT NULL REFERENCES /*users*/ ON DELETE CASCADE,
	"expires"      timestamp NOT NULL -- UTC
);

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
