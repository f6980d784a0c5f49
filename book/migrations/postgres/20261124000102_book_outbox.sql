-- +goose Up
-- Entries that wait for their number, in the order of n. No index but the key:
-- acts pay for every index here.
CREATE TABLE IF NOT EXISTS gatebook_outbox (
	n      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id     text  NOT NULL,
	header bytea NOT NULL,
	blocks bytea NOT NULL,
	terms  bytea NOT NULL
);

-- +goose Down
DROP TABLE IF EXISTS gatebook_outbox;
