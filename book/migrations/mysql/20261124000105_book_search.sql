-- +goose Up
-- Terms that find entries by personal values, as keyed digests.
CREATE TABLE IF NOT EXISTS gatebook_search (
	kind  varchar(255)  NOT NULL,
	token varbinary(32) NOT NULL,
	seq   bigint        NOT NULL,
	PRIMARY KEY (kind, token, seq)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS gatebook_search;
