-- +goose Up
-- Who does the housekeeping, so that of several servers one does.
CREATE TABLE IF NOT EXISTS gatebook_jobs (
	name   text   NOT NULL PRIMARY KEY,
	holder text   NOT NULL,
	until  bigint NOT NULL -- milliseconds since 1970
);

-- +goose Down
DROP TABLE IF EXISTS gatebook_jobs;
