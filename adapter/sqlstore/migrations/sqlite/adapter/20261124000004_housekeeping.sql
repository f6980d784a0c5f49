-- +goose Up
-- Who does the housekeeping, so that of several servers one does.
CREATE TABLE gatebook_jobs (
	name   text PRIMARY KEY NOT NULL,
	holder text NOT NULL,
	until  integer NOT NULL -- milliseconds since 1970
) WITHOUT ROWID;

-- +goose Down
DROP TABLE gatebook_jobs;
