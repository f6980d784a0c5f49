-- +goose Up
-- The tables of Auth.js's Drizzle adapter, with room for long tokens and times
-- without end. Where an application has them already they stay as they are.
CREATE TABLE IF NOT EXISTS `user` (
	`id`            varchar(255) NOT NULL PRIMARY KEY,
	`name`          text,
	`email`         varchar(320) UNIQUE,
	`emailVerified` datetime(3), -- UTC
	`image`         mediumtext
) ENGINE=InnoDB CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */;

-- +goose Down
-- The tables of Auth.js stay: they may be shared.
