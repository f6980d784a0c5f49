-- +goose Up
-- sessionToken is the lower-case hex SHA-256 of the token in the cookie.
CREATE TABLE IF NOT EXISTS `session` (
	`sessionToken` varchar(255) NOT NULL PRIMARY KEY,
	`userId`       /*id*/ NOT NULL,
	`expires`      datetime(3) NOT NULL, -- UTC
	KEY gatebook_session_user (`userId`),
	KEY gatebook_session_expires (`expires`),
	CONSTRAINT gatebook_session_user FOREIGN KEY (`userId`) REFERENCES /*users*/ ON DELETE CASCADE
) ENGINE=InnoDB CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */;

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
