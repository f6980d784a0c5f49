-- +goose Up
-- What Gatebook knows of a session that Auth.js's table has no column for. It
-- refers to no other table, because tools that rebuild sessions by dropping them
-- would empty this one.
CREATE TABLE IF NOT EXISTS gatebook_sessions (
	digest     char(64)     NOT NULL PRIMARY KEY, -- lower-case hex SHA-256 of the token
	sid        varchar(255) NOT NULL,
	user_id    varchar(255) NOT NULL,
	begun      bigint       NOT NULL, -- milliseconds since 1970; 0 when another program began it
	provider   varchar(255) NOT NULL,
	user_agent varchar(1024),
	KEY gatebook_sessions_user (user_id)
) ENGINE=InnoDB CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */;

-- +goose Down
DROP TABLE IF EXISTS gatebook_sessions;
