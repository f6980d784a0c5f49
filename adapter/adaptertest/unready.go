package adaptertest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
)

var unreadyRules = []rule{
	{"refused", "Until its tables are right every method fails with an error that says what to do.", func(w *world) {
		if w.opts.Unready == nil {
			return
		}
		for _, u := range w.opts.Unready(w.T) {
			w.Run(u.Name, func(t *testing.T) {
				in := *w
				in.T, in.a = t, u.Adapter
				in.refuses(u)
			})
		}
	}},
}

// refuses wants every method to fail, and the store to work once it is repaired.
func (w *world) refuses(u Unready) {
	w.Helper()
	who := gatebook.User{ID: "1", Name: "Ada", Email: "ada@example.com"}
	if w.opts.IDs == UUIDs {
		who.ID = uuid()
	}
	for round := range 2 {
		for name, call := range map[string]func() error{
			"Find": func() error {
				_, err := w.a.Find(w.ctx, gatebook.Query{UserID: who.ID, Session: "token"})
				return err
			},
			"Session": func() error {
				_, err := w.a.Session(w.ctx, "token")
				return err
			},
			"Sessions": func() error {
				_, err := w.a.Sessions(w.ctx, who.ID)
				return err
			},
			"Accounts": func() error {
				_, err := w.a.Accounts(w.ctx, who.ID)
				return err
			},
			"Authenticators": func() error {
				_, err := w.a.Authenticators(w.ctx, who.ID)
				return err
			},
			"ExtendSession": func() error { return w.a.ExtendSession(w.ctx, "token", now) },
			"Commit": func() error {
				return w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: who}}})
			},
			"Claim": func() error {
				_, err := w.a.Claim(w.ctx, "one", time.Hour)
				return err
			},
			"Expired": func() error {
				_, err := w.a.Expired(w.ctx, now)
				return err
			},
			"Sweep": func() error {
				_, err := w.a.Sweep(w.ctx, now)
				return err
			},
		} {
			err := call()
			if err == nil || !strings.Contains(err.Error(), u.Says) || errors.Is(err, gatebook.ErrNotFound) ||
				errors.Is(err, gatebook.ErrConflict) || errors.Is(err, gatebook.ErrCommitUnknown) {
				w.Errorf("%s, call %d, = %v, want an error that says %q", name, round, err, u.Says)
			}
		}
	}
	if u.Repair == nil {
		return
	}
	u.Repair(w.T)
	w.commit(gatebook.CreateUser{User: who})
	if w.find(gatebook.Query{UserID: who.ID}).ByID == nil {
		w.Errorf("a user created after the repair is not there")
	}
}
