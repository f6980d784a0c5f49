package demo

import (
	"encoding/json"
	"io"
	"sync"
	"time"
)

// The parent and the site talk in JSON, one value a line: commands on the
// site's standard input, notes on its standard output. The end of its input
// tells the site to end, so that none outlives a parent that was killed.

// command is what the parent tells the site.
type command struct {
	Start *start `json:",omitempty"`
	Arm   *arm   `json:",omitempty"`
}

// start is the first command. Secrets travel this way because arguments and
// environment of a process can be read by others.
type start struct {
	URL          string // of the site, such as http://localhost:8080
	Issuer       string
	ClientID     string
	ClientSecret string
	Secret       string
	Dir          string
	Crash        *crash // the last one, or nil
}

// arm makes the site stop the sign-in of an address at a moment, and say so.
type arm struct {
	Address string
	Moment  string
}

// Moments of a sign-in at which the server is killed.
const (
	// insideCommit is in the transaction, when all rows and entries but the
	// commit are written.
	insideCommit = "inside"
	// afterCommit is between the commit and the answer.
	afterCommit = "after"
)

// crash is a kill that was asked for.
type crash struct {
	Moment   string
	Address  string
	PID      int
	KilledAt time.Time
	// Answered is true when the visitor had the answer before the kill, which
	// should not be.
	Answered bool
}

// note is what the site tells the parent.
type note struct {
	Ready   bool   `json:",omitempty"`
	Crash   string `json:",omitempty"` // the visitor asks for a kill at this moment
	Reached bool   `json:",omitempty"` // the armed sign-in stands still
}

// line writes values to a pipe, one at a time.
type line struct {
	mu  sync.Mutex
	enc *json.Encoder // guarded by mu
}

func newLine(w io.Writer) *line { return &line{enc: json.NewEncoder(w)} }

func (l *line) send(v any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enc.Encode(v)
}
