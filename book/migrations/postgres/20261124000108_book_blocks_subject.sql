-- +goose Up
CREATE INDEX IF NOT EXISTS gatebook_blocks_subject ON gatebook_blocks (subject, seq);

-- +goose Down
DROP INDEX IF EXISTS gatebook_blocks_subject;
