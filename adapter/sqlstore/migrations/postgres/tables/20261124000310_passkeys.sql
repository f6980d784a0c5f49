-- +goose Up
CREATE TABLE IF NOT EXISTS "authenticator" (
	"credentialID"         text NOT NULL UNIQUE,
	"userId"               /*id*/ NOT NULL REFERENCES /*users*/ ON DELETE CASCADE,
	"providerAccountId"    text NOT NULL,
	"credentialPublicKey"  text NOT NULL,
	"counter"              bigint NOT NULL,
	"credentialDeviceType" text NOT NULL,
	"credentialBackedUp"   boolean NOT NULL,
	"transports"           text,
	PRIMARY KEY ("userId", "credentialID")
);

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
