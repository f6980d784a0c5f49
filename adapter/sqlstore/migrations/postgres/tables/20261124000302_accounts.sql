-- +goose Up
CREATE TABLE IF NOT EXISTS "account" (
	"userId"            /*id*/ NOT NULL REFERENCES /*users*/ ON DELETE CASCADE,
	"type"              text NOT NULL,
	"provider"          text NOT NULL,
	"providerAccountId" text NOT NULL,
	"refresh_token"     text,
	"access_token"      text,
	"expires_at"        bigint, -- seconds since 1970
	"token_type"        text,
	"scope"             text,
	"id_token"          text,
	"session_state"     text,
	PRIMARY KEY ("provider", "providerAccountId")
);

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
