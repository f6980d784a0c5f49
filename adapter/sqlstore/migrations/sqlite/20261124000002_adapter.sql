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

CREATE TABLE IF NOT EXISTS "account" (
	"userId"            text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
	"type"              text NOT NULL,
	"provider"          text NOT NULL,
	"providerAccountId" text NOT NULL,
	"refresh_token"     text,
	"access_token"      text,
	"expires_at"        integer, -- seconds since 1970
	"token_type"        text,
	"scope"             text,
	"id_token"          text,
	"session_state"     text,
	PRIMARY KEY ("provider", "providerAccountId")
);
CREATE INDEX IF NOT EXISTS gatebook_account_user ON "account" ("userId");

-- sessionToken is the lower-case hex SHA-256 of the token in the cookie.
CREATE TABLE IF NOT EXISTS "session" (
	"sessionToken" text PRIMARY KEY NOT NULL,
	"userId"       text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
	"expires"      integer NOT NULL -- milliseconds since 1970
);
CREATE INDEX IF NOT EXISTS gatebook_session_user ON "session" ("userId");

CREATE TABLE IF NOT EXISTS "verificationToken" (
	"identifier" text NOT NULL,
	"token"      text NOT NULL,
	"expires"    integer NOT NULL, -- milliseconds since 1970
	PRIMARY KEY ("identifier", "token")
);
CREATE INDEX IF NOT EXISTS gatebook_verification_token ON "verificationToken" ("token");
CREATE INDEX IF NOT EXISTS gatebook_verification_expires ON "verificationToken" ("expires");

CREATE TABLE IF NOT EXISTS "authenticator" (
	"credentialID"         text NOT NULL UNIQUE,
	"userId"               text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
	"providerAccountId"    text NOT NULL,
	"credentialPublicKey"  text NOT NULL,
	"counter"              integer NOT NULL,
	"credentialDeviceType" text NOT NULL,
	"credentialBackedUp"   integer NOT NULL, -- 0 or 1
	"transports"           text,
	PRIMARY KEY ("userId", "credentialID")
);

-- By what random key the book knows a user. A row outlives its user: erasing
-- the person removes it. So it refers to no other table.
CREATE TABLE gatebook_subjects (
	user_id text PRIMARY KEY NOT NULL,
	key     blob NOT NULL
) WITHOUT ROWID;

-- What Gatebook knows of a session that Auth.js's table has no column for. It
-- refers to no other table, because tools that rebuild "session" by dropping it
-- would empty this one.
CREATE TABLE gatebook_sessions (
	digest   text PRIMARY KEY NOT NULL, -- lower-case hex SHA-256 of the token
	sid      text NOT NULL,
	user_id  text NOT NULL,
	begun    integer NOT NULL, -- milliseconds since 1970
	provider text NOT NULL
) WITHOUT ROWID;
CREATE INDEX gatebook_sessions_user ON gatebook_sessions (user_id);

-- Values used up, such as a state, by their SHA-256.
CREATE TABLE gatebook_checks (
	digest  blob PRIMARY KEY NOT NULL,
	expires integer NOT NULL -- milliseconds since 1970
) WITHOUT ROWID;
CREATE INDEX gatebook_checks_expires ON gatebook_checks (expires);

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
DROP TABLE gatebook_checks;
DROP TABLE gatebook_sessions;
DROP TABLE gatebook_subjects;
