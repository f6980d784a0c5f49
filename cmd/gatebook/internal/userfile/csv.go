package userfile

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/gatebook/gatebook"
)

// maxRows is the most rows that one user may have.
const maxRows = 1000

// readCSV reads the form of RFC 4180 with a header. Rows that follow each other
// and have one id, or no id and one address, are one user with several accounts.
func readCSV(b *bufio.Reader, o Options) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		in := &bounded{r: b}
		c := csv.NewReader(in)
		c.Comma = separator(b)
		c.FieldsPerRecord = -1 // a short row is an error of its own line
		c.ReuseRecord = true
		in.next()
		columns, err := header(c, o)
		if errors.Is(err, errLong) {
			err = longRow(1)
		}
		if err != nil {
			yield(Row{}, err)
			return
		}
		var user *Row
		rows, line := 0, 1
		for {
			in.next()
			record, err := c.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if errors.Is(err, errLong) {
				err = longRow(line)
			}
			if err != nil {
				if user == nil || yield(*user, nil) {
					yield(Row{}, csvError(err))
				}
				return
			}
			line, _ = c.FieldPos(0)
			row := parseRow(columns, record, o)
			row.Line = line
			if rows++; user != nil && samePerson(user, &row) {
				user.add(&row, rows)
				continue
			}
			if user != nil && !yield(*user, nil) {
				return
			}
			user, rows = &row, 1
		}
		if user != nil {
			yield(*user, nil)
		}
	}
}

// separator looks which character parts the names in the header.
func separator(b *bufio.Reader) rune {
	first, _ := b.Peek(4096) // what there is, if it is less
	first, _, _ = bytes.Cut(first, []byte("\n"))
	for _, c := range []byte{'\t', ';'} {
		if bytes.IndexByte(first, ',') < 0 && bytes.IndexByte(first, c) >= 0 {
			return rune(c)
		}
	}
	return ','
}

func longRow(after int) error {
	return fmt.Errorf("after line %d: a row has more than %d MB: is a quote not closed?", after, maxUser>>20)
}

func csvError(err error) error {
	if pe, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("line %d, column %d: %w: what follows cannot be told apart", pe.Line, pe.Column, pe.Err)
	}
	return err
}

// header reads the names of the columns; those to ignore are empty.
func header(c *csv.Reader, o Options) ([]string, error) {
	names, err := c.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("line 1: the file is empty: its first line must name the columns")
	}
	if err != nil {
		return nil, csvError(err)
	}
	known := slices.Concat(userFields, accountFields, o.Extra)
	var columns, strange []string
	for _, name := range names {
		name = strings.TrimSpace(name)
		switch {
		case slices.Contains(o.Ignore, name):
			name = ""
		case !slices.Contains(known, name):
			strange = append(strange, name)
		case slices.Contains(columns, name):
			return nil, fmt.Errorf("line 1: the column %q is there twice", name)
		}
		columns = append(columns, name)
	}
	if len(strange) == len(names) {
		return nil, fmt.Errorf("line 1: it names no columns: it must be a header such as %s", strings.Join(known[:8], ","))
	}
	if len(strange) > 0 {
		return nil, unknown(1, "column", strange, known)
	}
	if !slices.ContainsFunc(columns, func(s string) bool { return s == "id" || s == "email" || s == "providerAccountId" }) {
		return nil, errors.New("line 1: there is neither a column id, email nor providerAccountId: nobody could be told apart")
	}
	return columns, nil
}

// parseRow makes a user with at most one account.
func parseRow(columns, record []string, o Options) Row {
	var row Row
	if len(record) != len(columns) {
		row.Err = fmt.Errorf("it has %d fields, and the header %d", len(record), len(columns))
	}
	var acc gatebook.Account
	linked := false
	for i, name := range columns[:min(len(columns), len(record))] {
		value := record[i]
		if value == `\N` { // how PostgreSQL and MySQL write NULL
			value = ""
		}
		linked = linked || value != "" && slices.Contains(accountFields, name)
		// The text is a part of the reader's row, which is used again.
		if err := set(&row.ImportUser, &acc, name, strings.Clone(value), o.Extra); err != nil && row.Err == nil {
			row.Err = err
		}
	}
	if linked {
		row.Accounts = []gatebook.Account{acc}
	}
	return row
}

func samePerson(a, b *Row) bool {
	if a.User.ID != "" || b.User.ID != "" {
		return a.User.ID == b.User.ID
	}
	return a.User.Email != "" && strings.EqualFold(a.User.Email, b.User.Email)
}

// add adds a further row of the same user.
func (r *Row) add(more *Row, rows int) {
	a, b := &r.User, &more.User
	if rows > maxRows {
		r.Accounts, r.Err = nil, fmt.Errorf("the user has more than %d rows", maxRows)
		return
	}
	r.Accounts = append(r.Accounts, more.Accounts...)
	switch {
	case r.Err != nil:
	case more.Err != nil:
		r.Err = fmt.Errorf("its row in line %d: %w", more.Line, more.Err)
	case a.Name != b.Name || !strings.EqualFold(a.Email, b.Email) || !a.EmailVerified.Equal(b.EmailVerified) || a.Image != b.Image || !sameExtra(a.Extra, b.Extra):
		r.Err = fmt.Errorf("line %d has the same user with other values", more.Line)
	}
}

func sameExtra(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a { // texts, as CSV has them
		if b[k] != v {
			return false
		}
	}
	return true
}
