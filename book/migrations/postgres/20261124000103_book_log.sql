-- +goose Up
-- The order of bytes, whatever the database's, so that a prefix is a range.
CREATE TABLE IF NOT EXISTS gatebook_log (
	seq         bigint PRIMARY KEY,
	recorded_at bigint NOT NULL, -- milliseconds since 1970
	id          text COLLATE "C" NOT NULL UNIQUE,
	type        text COLLATE "C" NOT NULL,
	outcome     text COLLATE "C" NOT NULL,
	header      bytea  NOT NULL
);

-- +goose Down
DROP TABLE IF EXISTS gatebook_log;
