-- +goose Up
-- The head row: who the book is, its last number, and who may give the next.
-- Every batch of the sequencer begins by updating it where epoch is the one
-- that the sequencer holds; no row means that another has taken over.
CREATE TABLE IF NOT EXISTS gatebook_book (
	one         smallint       NOT NULL PRIMARY KEY,
	id          varchar(64)    NOT NULL,
	search_key  varbinary(255) NOT NULL,
	seq         bigint         NOT NULL,
	recorded_at bigint         NOT NULL, -- milliseconds since 1970
	epoch       bigint         NOT NULL,
	holder      varchar(255)   NOT NULL,
	lease_until bigint         NOT NULL, -- milliseconds since 1970
	CHECK (one = 1)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS gatebook_book;
