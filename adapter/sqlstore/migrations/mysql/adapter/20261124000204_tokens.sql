-- +goose Up
-- What is known of token sessions: notes, to be listed, and those revoked, which
-- name nobody.
CREATE TABLE IF NOT EXISTS gatebook_tokens (
	sid        varchar(255)  NOT NULL PRIMARY KEY,
	user_id    varchar(255)  NOT NULL, -- empty when revoked
	begun      bigint        NOT NULL, -- milliseconds since 1970
	expires    bigint        NOT NULL, -- milliseconds since 1970
	provider   varchar(255)  NOT NULL,
	user_agent varchar(1024) NOT NULL,
	revoked    smallint      NOT NULL, -- 0 or 1
	KEY gatebook_tokens_user (user_id),
	KEY gatebook_tokens_expires (expires)
) ENGINE=InnoDB CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */;

-- +goose Down
DROP TABLE IF EXISTS gatebook_tokens;
