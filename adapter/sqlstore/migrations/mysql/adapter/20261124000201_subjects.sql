-- +goose Up
-- By what random key the book knows a user. A row outlives its user: erasing the
-- person removes it. So it refers to no other table.
CREATE TABLE IF NOT EXISTS gatebook_subjects (
	user_id varchar(255)  NOT NULL PRIMARY KEY,
	`key`   varbinary(16) NOT NULL
) ENGINE=InnoDB CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */;

-- +goose Down
DROP TABLE IF EXISTS gatebook_subjects;
