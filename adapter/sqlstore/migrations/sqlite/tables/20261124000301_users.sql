-- +goose Up
-- The tables of Auth.js's Drizzle adapter. Where an application has them
-- already they stay as they are.
CREATE TABLE IF NOT EXISTS "user" (
	"id"            text PRIMARY KEY NOT NULL,
	"name"          text,
	"email"         text UNIQUE,
	"emailVerified" integer, -- milliseconds since 1970
	"image"         text
);

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
