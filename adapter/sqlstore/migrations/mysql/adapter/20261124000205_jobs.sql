-- +goose Up
-- Who does the housekeeping, so that of several servers one does.
CREATE TABLE IF NOT EXISTS gatebook_jobs (
	name   varchar(64)  NOT NULL PRIMARY KEY,
	holder varchar(255) NOT NULL,
	until  bigint       NOT NULL -- milliseconds since 1970
) ENGINE=InnoDB CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */;

-- +goose Down
DROP TABLE IF EXISTS gatebook_jobs;
