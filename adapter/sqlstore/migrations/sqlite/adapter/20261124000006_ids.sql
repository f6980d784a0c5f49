-- +goose Up
-- The last id that was given to a user, where ids are numbers.
CREATE TABLE gatebook_ids (
	name text PRIMARY KEY NOT NULL,
	last integer NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE gatebook_ids;
