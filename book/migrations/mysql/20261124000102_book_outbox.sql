-- +goose Up
-- Entries that wait for their number, in the order of n. No index but the key:
-- acts pay for every index here.
CREATE TABLE IF NOT EXISTS gatebook_outbox (
	n      bigint       NOT NULL AUTO_INCREMENT PRIMARY KEY,
	id     varchar(255) NOT NULL,
	header mediumblob   NOT NULL,
	blocks mediumblob   NOT NULL,
	terms  mediumblob   NOT NULL
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS gatebook_outbox;
