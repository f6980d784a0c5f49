package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gatebook/gatebook/book"
)

// Intervals of a stream.
const (
	// glance is how often the state beside the entries is looked at.
	glance = 300 * time.Millisecond
	// breath is how long a stream is silent at most, so that a dead connection
	// is noticed.
	breath = 15 * time.Second
	// writeTime is how long a write may take.
	writeTime = 10 * time.Second
)

// live streams the entries after a cursor, and the state of the book, as
// server-sent events (HTML Standard, Section 9.2). The id of an entry's event
// is its cursor, so that a browser that lost the connection goes on where it
// was, and nothing is missed while the server is away.
func (s *server) live(w http.ResponseWriter, r *http.Request) {
	at := r.Header.Get("Last-Event-ID")
	if at == "" {
		at = r.URL.Query().Get("after")
	}
	cursor, err := book.ParseCursor(at)
	if err != nil {
		http.Error(w, "after is no cursor", http.StatusBadRequest)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	st := &stream{w: w, rc: http.NewResponseController(w)}
	st.raw("retry: 300\n\n")

	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	entries := make(chan followed)
	go s.follow(ctx, cursor, entries)
	tick := time.NewTicker(glance)
	defer tick.Stop()
	auditor := newAuditor(s.db)
	s.sendState(ctx, st, auditor)
	for st.err == nil {
		select {
		case <-s.ending:
			return
		case <-ctx.Done():
			return
		case f := <-entries:
			switch {
			case errors.Is(f.err, book.ErrHistoryReplaced):
				st.event("replaced", "", nil)
				return
			case f.err != nil:
				s.log.Warn("follow the book", "error", f.err)
				return
			}
			v := viewOf(f.entry)
			v.Open = true
			st.event("entry", v.Cursor, s.page.render("act", actView{ID: v.Act, Time: v.actTime, Route: v.route, Entries: []entryView{v}}))
			s.sendState(ctx, st, auditor)
		case <-tick.C:
			s.sendState(ctx, st, auditor)
		}
	}
}

// followed is a step of a follower.
type followed struct {
	entry book.Entry
	err   error
}

func (s *server) follow(ctx context.Context, c book.Cursor, to chan<- followed) {
	for e, err := range s.auth.Book().Follow(ctx, c, book.Filter{}) {
		select {
		case to <- followed{e, err}:
		case <-ctx.Done():
			return
		}
	}
}

// sendState sends the state and the last kill if they changed since they were
// sent last.
func (s *server) sendState(ctx context.Context, st *stream, auditor *auditor) {
	a, err := auditor.check(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("audit", "error", err)
		}
		return
	}
	st.changed("state", s.page.render("state", a))
	if s.start.Crash != nil {
		st.changed("crash", s.page.render("crash", s.crashView(ctx, a)))
	}
	if time.Since(st.last) > breath {
		st.raw(": still here\n\n")
	}
}

// stream writes server-sent events. After an error it does nothing.
type stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	sent map[string]string // what changed wrote last, by event
	last time.Time
	err  error
}

func (st *stream) changed(event string, data []byte) {
	if st.sent[event] == string(data) {
		return
	}
	if st.sent == nil {
		st.sent = map[string]string{}
	}
	st.sent[event] = string(data)
	st.event(event, "", data)
}

func (st *stream) event(event, id string, data []byte) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\n", event)
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	for line := range bytes.Lines(append(bytes.TrimSpace(data), '\n')) {
		b.WriteString("data: ")
		b.Write(line)
	}
	b.WriteByte('\n')
	st.raw(b.String())
}

func (st *stream) raw(text string) {
	if st.err != nil {
		return
	}
	st.last = time.Now()
	if st.err = st.rc.SetWriteDeadline(st.last.Add(writeTime)); st.err != nil {
		return
	}
	if _, st.err = st.w.Write([]byte(text)); st.err == nil {
		st.err = st.rc.Flush()
	}
}

// crashView is the last kill and what came of it.
type crashView struct {
	*crash
	Inside  bool
	Killed  string
	Back    string // milliseconds from the kill until the site served again
	NewPID  int
	Waiting int
	Whole   bool
	Entries []int64 // of that visitor, up to the kill
	Over    bool    // everything is numbered
}

func (s *server) crashView(ctx context.Context, a audit) crashView {
	c := s.start.Crash
	v := crashView{crash: c, Inside: c.Moment == insideCommit, Killed: stamp(c.KilledAt), NewPID: os.Getpid(), Waiting: a.Waiting,
		Back: strconv.FormatInt(s.begun.Sub(c.KilledAt).Milliseconds(), 10), Whole: a.Whole(), Over: a.Waiting == 0}
	entries, err := s.auth.Book().Read(ctx, book.Query{Filter: book.Filter{Email: c.Address}})
	if err != nil {
		return v
	}
	for _, e := range entries {
		if !e.Header.Time.After(c.KilledAt) {
			v.Entries = append(v.Entries, e.Seq)
		}
	}
	return v
}
