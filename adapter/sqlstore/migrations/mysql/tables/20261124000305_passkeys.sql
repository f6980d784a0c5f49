-- +goose Up
CREATE TABLE IF NOT EXISTS `authenticator` (
	`credentialID`         varchar(1400) CHARACTER SET ascii /*M! COLLATE ascii_nopad_bin */ /*!80017 COLLATE ascii_bin */ NOT NULL UNIQUE,
	`userId`               /*id*/ NOT NULL,
	`providerAccountId`    varchar(512) NOT NULL,
	`credentialPublicKey`  text NOT NULL,
	`counter`              bigint NOT NULL,
	`credentialDeviceType` varchar(255) NOT NULL,
	`credentialBackedUp`   boolean NOT NULL,
	`transports`           varchar(255),
	PRIMARY KEY (`userId`, `credentialID`),
	CONSTRAINT gatebook_authenticator_user FOREIGN KEY (`userId`) REFERENCES /*users*/ ON DELETE CASCADE
) ENGINE=InnoDB CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */;

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
