-- +goose Up
CREATE TABLE IF NOT EXISTS gatebook_log (
	seq         bigint       NOT NULL PRIMARY KEY,
	recorded_at bigint       NOT NULL, -- milliseconds since 1970
	id          varchar(255) NOT NULL,
	type        varchar(255) NOT NULL,
	outcome     varchar(255) NOT NULL,
	header      mediumblob   NOT NULL,
	UNIQUE KEY gatebook_log_id (id),
	KEY gatebook_log_type (type, seq),
	KEY gatebook_log_recorded_at (recorded_at, seq),
	KEY gatebook_log_outcome (outcome, seq)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS gatebook_log;
