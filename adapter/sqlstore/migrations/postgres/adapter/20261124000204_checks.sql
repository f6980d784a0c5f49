-- +goose Up
-- Values used up, such as a state, by their SHA-256.
CREATE TABLE IF NOT EXISTS gatebook_checks (
	digest  bytea  NOT NULL PRIMARY KEY,
	expires bigint NOT NULL -- milliseconds since 1970
);

-- +goose Down
DROP TABLE IF EXISTS gatebook_checks;
