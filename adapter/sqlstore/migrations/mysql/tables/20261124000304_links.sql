-- +goose Up
CREATE TABLE IF NOT EXISTS `verificationToken` (
	`identifier` varchar(320) NOT NULL,
	`token`      varchar(255) NOT NULL,
	`expires`    datetime(3) NOT NULL, -- UTC
	PRIMARY KEY (`identifier`, `token`),
	KEY gatebook_verification_token (`token`),
	KEY gatebook_verification_expires (`expires`)
) ENGINE=InnoDB CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */;

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
