-- +goose Up
-- By what random key the book knows a user. A row outlives its user: erasing the
-- person removes it. So it refers to no other table.
CREATE TABLE IF NOT EXISTS gatebook_subjects (
	user_id text  NOT NULL PRIMARY KEY,
	key     bytea NOT NULL
);

-- +goose Down
DROP TABLE IF EXISTS gatebook_subjects;
