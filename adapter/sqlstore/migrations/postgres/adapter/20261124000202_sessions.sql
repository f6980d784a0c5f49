-- +goose Up
-- What Gatebook knows of a session that Auth.js's table has no column for. It
-- refers to no other table, because tools that rebuild sessions by dropping them
-- would empty this one.
CREATE TABLE IF NOT EXISTS gatebook_sessions (
	digest     text   NOT NULL PRIMARY KEY, -- lower-case hex SHA-256 of the token
	sid        text   NOT NULL,
	user_id    text   NOT NULL,
	begun      bigint NOT NULL, -- milliseconds since 1970; 0 when another program began it
	provider   text   NOT NULL,
	user_agent text
);

-- +goose Down
DROP TABLE IF EXISTS gatebook_sessions;
