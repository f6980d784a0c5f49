-- +goose Up
-- Terms that find entries by personal values, as keyed digests.
CREATE TABLE IF NOT EXISTS gatebook_search (
	kind  text COLLATE "C" NOT NULL,
	token bytea  NOT NULL,
	seq   bigint NOT NULL,
	PRIMARY KEY (kind, token, seq)
);

-- +goose Down
DROP TABLE IF EXISTS gatebook_search;
