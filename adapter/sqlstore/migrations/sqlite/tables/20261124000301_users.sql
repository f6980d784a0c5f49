-- +goose Up
-- The tables of Auth.js's Drizzle adapter. Where an application has them
-- already they stay as they are. Without a rowid a look-up by key goes down one
-- tree and not two, of which the second is as deep as the first.
CREATE TABLE IF NOT EXISTS "user" (
	"id"            text PRIMARY KEY NOT NULL,
	"name"          text,
	"email"         text UNIQUE,
	"emailVerified" integer, -- milliseconds since 1970
	"image"         text
) WITHOUT ROWID;

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
