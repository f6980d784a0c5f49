-- +goose Up
-- With what a session began, so that a person can tell their own apart.
ALTER TABLE gatebook_sessions ADD COLUMN user_agent text;

-- What is known of token sessions: notes, to be listed, and those revoked, which
-- name nobody.
CREATE TABLE gatebook_tokens (
	sid        text PRIMARY KEY NOT NULL,
	user_id    text NOT NULL, -- empty when revoked
	begun      integer NOT NULL, -- milliseconds since 1970
	expires    integer NOT NULL, -- milliseconds since 1970
	provider   text NOT NULL,
	user_agent text NOT NULL,
	revoked    integer NOT NULL -- 0 or 1
) WITHOUT ROWID;
CREATE INDEX gatebook_tokens_user ON gatebook_tokens (user_id);
CREATE INDEX gatebook_tokens_expires ON gatebook_tokens (expires);

-- +goose Down
DROP TABLE gatebook_tokens;
ALTER TABLE gatebook_sessions DROP COLUMN user_agent;
