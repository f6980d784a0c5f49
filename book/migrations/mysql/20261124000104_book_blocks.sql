-- +goose Up
CREATE TABLE IF NOT EXISTS gatebook_blocks (
	seq      bigint        NOT NULL,
	position smallint      NOT NULL,
	class    varchar(255)  NOT NULL,
	subject  varbinary(16) NOT NULL,
	bytes    mediumblob    NOT NULL,
	PRIMARY KEY (seq, position),
	KEY gatebook_blocks_subject (subject, seq)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS gatebook_blocks;
