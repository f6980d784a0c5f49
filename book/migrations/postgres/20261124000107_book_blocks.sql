-- +goose Up
CREATE TABLE IF NOT EXISTS gatebook_blocks (
	seq      bigint   NOT NULL,
	position smallint NOT NULL,
	class    text     NOT NULL,
	subject  bytea    NOT NULL,
	bytes    bytea    NOT NULL,
	PRIMARY KEY (seq, position)
);

-- +goose Down
DROP TABLE IF EXISTS gatebook_blocks;
