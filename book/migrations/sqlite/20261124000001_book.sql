-- +goose Up
-- The head row: who the book is, its last number, and who may give the next.
-- Every batch of the sequencer begins by updating it where epoch is the one
-- that the sequencer holds; no row means that another has taken over.
CREATE TABLE gatebook_book (
	one         INTEGER PRIMARY KEY CHECK (one = 1),
	id          TEXT    NOT NULL,
	search_key  BLOB    NOT NULL,
	seq         INTEGER NOT NULL,
	recorded_at INTEGER NOT NULL,
	epoch       INTEGER NOT NULL,
	holder      TEXT    NOT NULL,
	lease_until INTEGER NOT NULL
);

-- Entries that wait for their number. No index but the rowid, which is also
-- their order: acts pay for every index here.
CREATE TABLE gatebook_outbox (
	n      INTEGER PRIMARY KEY,
	id     TEXT NOT NULL,
	header BLOB NOT NULL,
	blocks BLOB NOT NULL,
	terms  BLOB NOT NULL
);

CREATE TABLE gatebook_log (
	seq         INTEGER PRIMARY KEY,
	recorded_at INTEGER NOT NULL,
	id          TEXT    NOT NULL,
	type        TEXT    NOT NULL,
	outcome     TEXT    NOT NULL,
	header      BLOB    NOT NULL
);
-- An index holds the rowid, so these are (value, seq).
CREATE UNIQUE INDEX gatebook_log_id ON gatebook_log (id);
CREATE INDEX gatebook_log_type ON gatebook_log (type);
CREATE INDEX gatebook_log_recorded_at ON gatebook_log (recorded_at);
CREATE INDEX gatebook_log_outcome ON gatebook_log (outcome) WHERE outcome <> 'success';

CREATE TABLE gatebook_blocks (
	seq      INTEGER NOT NULL,
	position INTEGER NOT NULL,
	class    TEXT    NOT NULL,
	subject  BLOB    NOT NULL,
	bytes    BLOB    NOT NULL,
	PRIMARY KEY (seq, position)
) WITHOUT ROWID;
CREATE INDEX gatebook_blocks_subject ON gatebook_blocks (subject, seq);

CREATE TABLE gatebook_search (
	kind  TEXT    NOT NULL,
	token BLOB    NOT NULL,
	seq   INTEGER NOT NULL,
	PRIMARY KEY (kind, token, seq)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE gatebook_search;
DROP TABLE gatebook_blocks;
DROP TABLE gatebook_log;
DROP TABLE gatebook_outbox;
DROP TABLE gatebook_book;
