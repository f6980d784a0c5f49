-- +goose Up
-- The tables of Auth.js's Drizzle adapter. Where an application has them
-- already they stay as they are.
CREATE TABLE IF NOT EXISTS "user" (
	"id"            text NOT NULL PRIMARY KEY,
	"name"          text,
	"email"         text UNIQUE,
	"emailVerified" timestamp, -- UTC
	"image"         text
);

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
