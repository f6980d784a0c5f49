-- +goose Up
-- Values used up, such as a state, by their SHA-256.
CREATE TABLE IF NOT EXISTS gatebook_checks (
	digest  binary(32) NOT NULL PRIMARY KEY,
	expires bigint     NOT NULL, -- milliseconds since 1970
	KEY gatebook_checks_expires (expires)
) ENGINE=InnoDB CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */;

-- +goose Down
DROP TABLE IF EXISTS gatebook_checks;
