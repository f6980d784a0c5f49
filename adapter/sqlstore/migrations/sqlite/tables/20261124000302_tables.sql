-- +goose Up
CREATE TABLE IF NOT EXISTS "account" (
	"userId"            /*id*/ NOT NULL REFERENCES /*users*/ ON DELETE CASCADE,
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
	"userId"       /*id*/ NOT NULL REFERENCES /*users*/ ON DELETE CASCADE,
	"expires"      integer NOT NULL -- milliseconds since 1970
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS gatebook_session_user ON "session" ("userId");
CREATE INDEX IF NOT EXISTS gatebook_session_expires ON "session" ("expires");

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
	"userId"               /*id*/ NOT NULL REFERENCES /*users*/ ON DELETE CASCADE,
	"providerAccountId"    text NOT NULL,
	"credentialPublicKey"  text NOT NULL,
	"counter"              integer NOT NULL,
	"credentialDeviceType" text NOT NULL,
	"credentialBackedUp"   integer NOT NULL, -- 0 or 1
	"transports"           text,
	PRIMARY KEY ("userId", "credentialID")
);

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
