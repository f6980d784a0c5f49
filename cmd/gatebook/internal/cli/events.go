package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/database"
	"github.com/gatebook/gatebook/record"
)

type eventsCommand struct {
	store
	Follow bool     `short:"f" help:"Wait for new entries and show them too."`
	Type   []string `placeholder:"TYPE" help:"Only entries of these types; one that ends in a dot stands for all that begin so (session.)."`
	User   string   `placeholder:"ID|ADDRESS" help:"Only entries about this user id or e-mail address."`
	Since  string   `placeholder:"TIME" help:"Only entries recorded since then: 90m, 12h, 7d, 2026-11-24, or 2026-11-24T10:00:00Z."`
	Failed bool     `help:"Only failures."`
	After  string   `placeholder:"CURSOR" help:"Only entries after this place, as --json prints it."`
	Limit  int      `short:"n" default:"50" help:"Show at most so many of the newest entries; 0 for all."`
	JSON   bool     `help:"Print a JSON object for each entry, a line each."`
}

// Help is shown below the flags.
func (*eventsCommand) Help() string {
	return "Entries are printed oldest first. Times are UTC. In the table, what is no printable character is printed as its code."
}

// Run prints entries.
func (c *eventsCommand) Run(env *environment) error {
	where, err := c.database()
	if err != nil {
		return err
	}
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	db, err := database.Existing(where)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it was only read
	out := bufio.NewWriter(env.stdout)
	p := &printer{w: out, json: c.JSON, color: terminal(env.stdout) && os.Getenv("NO_COLOR") == ""}
	err = c.print(env.ctx, db.Book(), filter, p)
	return errors.Join(err, out.Flush())
}

func (c *eventsCommand) filter(now time.Time) (book.Filter, error) {
	f := book.Filter{Types: c.Type}
	if strings.Contains(c.User, "@") {
		f.Email = c.User
	} else {
		f.UserID = c.User
	}
	if c.Failed {
		f.Outcome = record.Failure
	}
	if c.Since != "" {
		since, err := parseSince(c.Since, now)
		if err != nil {
			return f, err
		}
		f.Since = since
	}
	return f, nil
}

func parseSince(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--since %q is no time: write 90m, 12h, 7d, 2026-11-24, or 2026-11-24T10:00:00Z", s)
}

func (c *eventsCommand) print(ctx context.Context, b *book.Book, f book.Filter, p *printer) error {
	cursor, err := b.Head(ctx)
	if err != nil {
		return err
	}
	if c.After != "" {
		if cursor, err = book.ParseCursor(c.After); err != nil {
			return fmt.Errorf("--after: %w", err)
		}
	} else if err := c.printNewest(ctx, b, f, cursor, p); err != nil {
		return err
	}
	if c.After != "" && !c.Follow {
		return c.printAfter(ctx, b, f, cursor, p)
	}
	if !c.Follow {
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	for e, err := range b.Follow(ctx, cursor, f) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.entry(e); err != nil {
			return err
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
	return nil
}

// printNewest prints the newest entries up to head, oldest first.
func (c *eventsCommand) printNewest(ctx context.Context, b *book.Book, f book.Filter, head book.Cursor, p *printer) error {
	if head.Seq == 0 {
		return nil
	}
	after := int64(0)
	if c.Limit > 0 {
		newest, err := b.Read(ctx, book.Query{Filter: f, Before: head.Seq + 1, Limit: min(c.Limit, 1000), Reverse: true})
		if err != nil {
			return err
		}
		for left := c.Limit - len(newest); left > 0 && len(newest)%1000 == 0 && len(newest) > 0; left = c.Limit - len(newest) {
			more, err := b.Read(ctx, book.Query{Filter: f, Before: newest[len(newest)-1].Seq, Limit: min(left, 1000), Reverse: true})
			if err != nil {
				return err
			}
			if len(more) == 0 {
				break
			}
			newest = append(newest, more...)
		}
		if len(newest) == 0 {
			return nil
		}
		after = newest[len(newest)-1].Seq - 1
	}
	return c.pages(ctx, b, f, after, head.Seq, p)
}

// printAfter prints what follows a cursor, if the log still has its entry.
func (c *eventsCommand) printAfter(ctx context.Context, b *book.Book, f book.Filter, after book.Cursor, p *printer) error {
	head, err := b.Head(ctx)
	if err != nil {
		return err
	}
	if after.Seq > head.Seq {
		return book.ErrHistoryReplaced
	}
	if after.Seq > 0 {
		at, err := b.Read(ctx, book.Query{After: after.Seq - 1, Before: after.Seq + 1, Limit: 1})
		if err != nil {
			return err
		}
		if len(at) != 1 || at[0].Cursor() != after {
			return book.ErrHistoryReplaced
		}
	}
	return c.pages(ctx, b, f, after.Seq, head.Seq, p)
}

// pages prints the entries after a number up to another.
func (c *eventsCommand) pages(ctx context.Context, b *book.Book, f book.Filter, after, last int64, p *printer) error {
	for {
		entries, err := b.Read(ctx, book.Query{Filter: f, After: after, Before: last + 1, Limit: 1000})
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := p.entry(e); err != nil {
				return err
			}
			after = e.Seq
		}
		if len(entries) < 1000 {
			return nil
		}
	}
}

// printer prints entries as a table or as JSON.
type printer struct {
	w      *bufio.Writer
	json   bool
	color  bool
	headed bool
}

func (p *printer) flush() error { return p.w.Flush() }

func (p *printer) entry(e book.Entry) error {
	if p.json {
		return p.object(e)
	}
	const row = "%7s  %-23s  %-18s  %-28s  %-34s  %-12s  %s\n"
	if !p.headed {
		p.headed = true
		if _, err := fmt.Fprintf(p.w, row, "SEQ", "RECORDED (UTC)", "TYPE", "OUTCOME", "WHO", "WITH", "FROM"); err != nil {
			return err
		}
	}
	who, from := about(e)
	outcome := e.Header.Outcome
	if e.Header.Reason != "" {
		outcome += ": " + e.Header.Reason
	}
	line := fmt.Sprintf(row, strconv.FormatInt(e.Seq, 10), e.RecordedAt.UTC().Format("2006-01-02 15:04:05.000"),
		clean(e.Header.Type), clean(outcome), clean(who), clean(e.Header.Provider), clean(from))
	line = strings.TrimRight(line, " \n") + "\n"
	if p.color && e.Header.Outcome == record.Failure {
		line = "\x1b[31m" + strings.TrimSuffix(line, "\n") + "\x1b[0m\n"
	}
	_, err := p.w.WriteString(line)
	return err
}

// about returns whom an entry concerns and from where the request came, as its
// blocks say; empty where they are erased.
func about(e book.Entry) (who, from string) {
	var f struct {
		User   record.Person `json:"user"`
		Target string        `json:"target"`
		IP     string        `json:"ip"`
	}
	for _, b := range e.Blocks {
		_ = json.Unmarshal(b.Payload(), &f) // what does not decode is not shown
	}
	switch {
	case f.User.Email != "" && f.User.Name != "":
		who = f.User.Name + " <" + f.User.Email + ">"
	case f.User.Email != "":
		who = f.User.Email
	case f.User.Name != "":
		who = f.User.Name
	case f.Target != "":
		who = f.Target
	default:
		who = f.User.ID
	}
	return who, f.IP
}

// object prints an entry as JSON: the header as it was written, and the blocks.
func (p *printer) object(e book.Entry) error {
	type block struct {
		Class   string          `json:"class"`
		Subject string          `json:"subject,omitempty"`
		Digest  string          `json:"digest"`
		Payload json.RawMessage `json:"payload,omitempty"`
		Erased  bool            `json:"erased,omitempty"`
	}
	out := struct {
		Seq        int64           `json:"seq"`
		RecordedAt time.Time       `json:"recordedAt"`
		Cursor     string          `json:"cursor"`
		Header     json.RawMessage `json:"header"`
		Blocks     []block         `json:"blocks"`
	}{Seq: e.Seq, RecordedAt: e.RecordedAt.UTC(), Cursor: e.Cursor().String(), Header: e.Raw, Blocks: []block{}}
	have := map[record.Digest]record.Block{}
	for _, b := range e.Blocks {
		have[b.Digest()] = b
	}
	for _, ref := range e.Header.Blocks {
		b, ok := have[ref.Digest]
		out.Blocks = append(out.Blocks, block{ref.Class, ref.Subject.String(), ref.Digest.String(), b.Payload(), !ok})
	}
	line, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("entry %d: %w", e.Seq, err)
	}
	_, err = io.WriteString(p.w, escapeJSON(string(line))+"\n")
	return err
}

// clean makes a text harmless to a terminal: what is no printable character
// (control characters, and those that change the direction of writing) becomes
// its code. Names and addresses are what strangers say they are.
func clean(s string) string {
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r > 0xffff && unprintable(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		case unprintable(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }

// escapeJSON does the same for a line of JSON, in JSON's own escapes: it means
// the same as before. Unprintable characters can only stand in its strings.
func escapeJSON(line string) string {
	if !strings.ContainsFunc(line, unprintable) {
		return line
	}
	var b strings.Builder
	for _, r := range line {
		switch {
		case r > 0xffff && unprintable(r):
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		case unprintable(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
