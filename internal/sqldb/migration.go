package sqldb

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Set is a series of migrations that belong together. Several sets share one
// database; they are applied each in order of version.
type Set struct {
	// Name tells the set from others in the version table.
	Name string
	// FS holds files named VERSION_name.sql in its root, in the comment format
	// of goose: "-- +goose Up", "-- +goose Down", "-- +goose NO TRANSACTION"
	// before them, and "-- +goose StatementBegin" and "StatementEnd" around a
	// statement with inner semicolons. Only Up is run. Versions are numbers; a
	// file that was released never changes. MySQL commits each statement by
	// itself, as every database does without a transaction: such a file is run
	// again from its beginning when it was broken off, so each of its statements
	// must be one that may be repeated.
	FS fs.FS
}

// migration is a file of a [Set].
type migration struct {
	version    int64
	name       string
	statements []string
	alone      bool // not in a transaction
}

func readSet(set Set) ([]migration, error) {
	names, err := fs.Glob(set.FS, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations of %s: %w", set.Name, err)
	}
	var out []migration
	for _, name := range names {
		b, err := fs.ReadFile(set.FS, name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		number, _, _ := strings.Cut(path.Base(name), "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil || v < 1 {
			return nil, fmt.Errorf("migration %s: name does not begin with a version", name)
		}
		stmts, alone, err := parseUp(string(b))
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", name, err)
		}
		out = append(out, migration{version: v, name: strings.TrimSuffix(path.Base(name), ".sql"), statements: stmts, alone: alone})
	}
	slices.SortFunc(out, func(a, b migration) int { return int(min(max(a.version-b.version, -1), 1)) })
	for i := 1; i < len(out); i++ {
		if out[i].version == out[i-1].version {
			return nil, fmt.Errorf("migrations %s and %s have the same version", out[i-1].name, out[i].name)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no migrations of %s", set.Name)
	}
	return out, nil
}

// endsStatement reports whether the last word of line before a comment ends in a
// semicolon. A word that begins with two hyphens begins a comment, as it does for
// goose.
func endsStatement(line string) bool {
	last := ""
	for word := range strings.FieldsSeq(line) {
		if strings.HasPrefix(word, "--") {
			break
		}
		last = word
	}
	return strings.HasSuffix(last, ";")
}

// parseUp returns the statements of the Up part of a file in goose's format, and
// whether they must not run in a transaction: a statement ends with a semicolon
// at the end of a line, or with StatementEnd.
func parseUp(text string) (out []string, alone bool, err error) {
	var stmt strings.Builder
	up, seen, block := false, false, false
	end := func() {
		if s := strings.TrimSpace(stmt.String()); s != "" {
			out = append(out, s)
		}
		stmt.Reset()
	}
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if command, ok := strings.CutPrefix(trimmed, "-- +goose "); ok {
			switch command = strings.TrimSpace(command); {
			case command == "NO TRANSACTION" && !seen:
				alone = true
			case command == "Up" && !seen:
				up, seen = true, true
			case command == "Down":
				up = false
			case command == "StatementBegin" && !block:
				block = true
			case command == "StatementEnd" && block:
				block = false
				if up {
					end()
				}
			default:
				return nil, false, fmt.Errorf("goose command %q is not supported here", command)
			}
			continue
		}
		// Within a statement every line counts: it may be one of a string.
		if !up || !block && stmt.Len() == 0 && (trimmed == "" || strings.HasPrefix(trimmed, "--")) {
			continue
		}
		stmt.WriteString(line)
		if !block && endsStatement(line) {
			end()
		}
	}
	if !seen {
		return nil, false, errors.New("no \"-- +goose Up\"")
	}
	if block || strings.TrimSpace(stmt.String()) != "" {
		return nil, false, errors.New("the last statement does not end")
	}
	return out, alone, nil
}
