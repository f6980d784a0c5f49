package gatebook

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gatebook/gatebook/record"
)

// signOut answers POST signout. Whatever fails, the cookies go. A program that
// holds its token itself has no cookies, and no other site can make a browser
// send its header: it needs no CSRF token, and has nowhere to be sent.
func (x *exchange) signOut() {
	if token, fromCookie := x.a.presented(x.visit); token != "" && !fromCookie {
		if err := x.endSession(context.WithoutCancel(x.r.Context()), token, x.a.tokenSalts); err != nil {
			x.a.log.Error("sign out", "error", err.Error())
			writeJSON(x.w, http.StatusServiceUnavailable, `{"error":"the session could not be ended; try again"}`)
			return
		}
		x.w.WriteHeader(http.StatusNoContent)
		return
	}
	if !x.csrfOK {
		x.failCSRF()
		return
	}
	ctx := context.WithoutCancel(x.r.Context())
	if token, _ := x.sessionChunks(); token != "" {
		if err := x.endSession(ctx, token, []string{x.cookieName(sessionCookie)}); err != nil {
			x.a.log.Error("sign out", "error", err.Error())
		}
	}
	x.a.endCookies(x.visit)
	x.redirect(x.callback)
}

// endSession ends the session that token opens and tells of it.
func (x *exchange) endSession(ctx context.Context, token string, salts []string) error {
	a := x.a
	if a.cfg.Session.Strategy == StrategyJWT {
		return x.endToken(ctx, token, salts)
	}
	return retry(func() error {
		found, err := a.sessionToEnd(ctx, token)
		if errors.Is(err, ErrNoSession) {
			a.invalid(ctx, x.visit, x.firing, record.ReasonSessionInvalid)
			return nil
		}
		if err != nil {
			return err
		}
		s, err := a.fromRow(ctx, found)
		if err != nil {
			return err
		}
		if !s.Expires.After(x.now) {
			if err := a.rowExpired(ctx, x.visit, x.firing, token, s); !errors.Is(err, ErrNoSession) {
				return err
			}
			return nil
		}
		rec := a.newRecorder(x.visit)
		rec.actor = Actor{Type: record.ActorUser, ID: s.User.ID}
		c := rec.meet(&found.FoundUser)
		if s.foreign {
			c.add(rec.adoptRow(&found.FoundUser, &found.Session, s.ID, rec.request))
		}
		ev := &SignOutEvent{Envelope: rec.envelope(record.TypeSignOut), Session: &found.Session}
		ev.Envelope.Subject, ev.Envelope.Session = s.User.ID, s.ID
		c.does(ev, keys{found.Subject, found.Subject}, DeleteSession{Handle: found.Session.Handle})
		if err := a.act(ctx, x.firing, c); err != nil {
			return fmt.Errorf("end session: %w", err)
		}
		return nil
	})
}
