-- +goose Up
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
DROP TABLE gatebook_checks;
DROP TABLE gatebook_sessions;
DROP TABLE gatebook_subjects;
