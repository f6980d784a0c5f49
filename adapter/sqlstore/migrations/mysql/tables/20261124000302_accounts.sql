-- +goose Up
CREATE TABLE IF NOT EXISTS `account` (
	`userId`            /*id*/ NOT NULL,
	`type`              varchar(255) NOT NULL,
	`provider`          varchar(255) NOT NULL,
	`providerAccountId` varchar(512) NOT NULL,
	`refresh_token`     mediumtext,
	`access_token`      mediumtext,
	`expires_at`        bigint, -- seconds since 1970
	`token_type`        varchar(255),
	`scope`             mediumtext,
	`id_token`          mediumtext,
	`session_state`     mediumtext,
	PRIMARY KEY (`provider`, `providerAccountId`),
	KEY gatebook_account_user (`userId`),
	CONSTRAINT gatebook_account_user FOREIGN KEY (`userId`) REFERENCES /*users*/ ON DELETE CASCADE
) ENGINE=InnoDB CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */;

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
