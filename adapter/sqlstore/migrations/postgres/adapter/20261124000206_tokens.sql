-- +goose Up
-- What is known of token sessions: notes, to be listed, and those revoked, which
-- name nobody.
CREATE TABLE IF NOT EXISTS gatebook_tokens (
	sid        text    NOT NULL PRIMARY KEY,
	user_id    text    NOT NULL, -- empty when revoked
	begun      bigint  NOT NULL, -- milliseconds since 1970
	expires    bigint  NOT NULL, -- milliseconds since 1970
	provider   text    NOT NULL,
	user_agent text    NOT NULL,
	revoked    integer NOT NULL -- 0 or 1
);

-- +goose Down
DROP TABLE IF EXISTS gatebook_tokens;
