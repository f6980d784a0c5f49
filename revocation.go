package gatebook

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/gatebook/gatebook/record"
)

// Token sessions can be ended when the adapter keeps two things of them: a note
// of each, to list them by, and the ids of those that were ended.

var errRevoked = fmt.Errorf("%w: it was revoked", ErrNoSession)

// clockSlack is how far the clocks of servers may differ where it matters until
// when something is kept.
const clockSlack = 5 * time.Minute

// listed reports whether token sessions are listed, and so can be ended.
func (a *Auth) listed() bool { return a.cfg.Session.Strategy == StrategyJWT && a.cfg.Session.Revocable }

// noteEvery is how much longer than a token its session's note is good when it is
// written, and so how often that is done.
func (a *Auth) noteEvery() time.Duration {
	return max(0, min(a.cfg.Session.UpdateAge, a.cfg.Session.TokenMaxAge/2))
}

// note returns the write that notes a token session. A note is good for longer
// than any token that is made before it is written anew: adapters keep a
// revocation for as long as the note that it replaces.
func (a *Auth) note(s StoredSession, now time.Time) Write {
	s.ID = a.listID(s.ID)
	if until := now.Add(a.cfg.Session.TokenMaxAge + a.noteEvery() + clockSlack); until.After(s.Expires) {
		s.Expires = cut(until)
	}
	return NoteSession{Session: s}
}

// due reports whether a token made now would outlive the note.
func (a *Auth) due(note *StoredSession, now time.Time) bool {
	return note == nil || note.Expires.Before(now.Add(a.cfg.Session.TokenMaxAge+clockSlack)) ||
		a.cfg.Session.UpdateAge < 0
}

// revoke returns the write that ends a token session. Until is when its last
// token expires, where that is known.
func (a *Auth) revoke(sid string, now, until time.Time) Write {
	if t := now.Add(a.cfg.Session.TokenMaxAge); t.After(until) {
		until = t
	}
	return RevokeToken{ID: a.listID(sid), Expires: cut(until.Add(clockSlack))}
}

// lastsUntil returns when a token expires. One without exp never does; ten years
// are more than its secret will last. They are whole days, so that it does not
// look longer each time it is read.
func lastsUntil(c *Claims, now time.Time) time.Time {
	far := now.AddDate(10, 0, 0).Truncate(24 * time.Hour)
	exp, ok := c.o.Int64("exp")
	if !ok || exp > far.Unix() {
		return far
	}
	return time.Unix(exp, 0)
}

// listID returns the id under which the adapter keeps a token session. Ours are
// 22 characters; those that another program put into its tokens may be anything.
// Their digest needs no key: events have such a sid as it is.
func (a *Auth) listID(sid string) string {
	if plainID(sid) {
		return sid
	}
	sum := sha256.Sum256([]byte("gatebook sid\x00" + sid))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func plainID(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// noted returns what is noted of the session of a token, nil when nothing is or
// token sessions are not listed. The error matches ErrNoSession when it was
// revoked.
func (a *Auth) noted(ctx context.Context, c *Claims) (*StoredSession, error) {
	if !a.listed() {
		return nil, nil //nolint:nilnil // most sites keep no list
	}
	found, err := a.find(ctx, Query{TokenSession: a.listID(c.String("sid"))})
	if err != nil {
		return nil, fmt.Errorf("read token session: %w", err)
	}
	if found.Revoked {
		return nil, errRevoked
	}
	return found.TokenSession, nil
}

// renewNote notes a session whose token is about to be made anew, when that is
// due. One that another program began is noted here for the first time.
func (a *Auth) renewNote(ctx context.Context, v *visit, s *Session, note *StoredSession) error {
	if !a.listed() || s.User.ID == "" {
		return nil
	}
	until := cut(lastsUntil(s.Token, v.now)) // another program's may last longer than ours
	if !a.due(note, v.now) && !until.After(note.Expires) {
		return nil
	}
	next := StoredSession{ID: s.ID, UserID: s.User.ID, UserAgent: userAgent(v.r)}
	if note != nil {
		next = *note
	}
	if until.After(next.Expires) {
		next.Expires = until
	}
	switch err := a.commit(ctx, &Act{Writes: []Write{a.note(next, v.now)}}); {
	case isConflict(err):
		return a.stillThere(ctx, s.Token, err)
	case err != nil:
		return fmt.Errorf("note session: %w", err)
	}
	return nil
}

// stillThere tells a session that was revoked meanwhile from a database that
// wanted the act to be run again; the next read does that.
func (a *Auth) stillThere(ctx context.Context, c *Claims, conflict error) error {
	if _, err := a.noted(ctx, c); err != nil {
		return err
	}
	a.log.Warn("note of a session was not renewed", "error", conflict.Error())
	return nil
}

// endToken ends the session of a token and tells of it.
func (x *exchange) endToken(ctx context.Context, value string, salts []string) error {
	a := x.a
	token, foreign, err := a.openToken(ctx, value, x.now, salts...)
	if err != nil && !errors.Is(err, ErrNoSession) {
		return err
	}
	if err != nil {
		a.invalid(ctx, x.visit, x.firing, record.ReasonSessionInvalid)
		return nil //nolint:nilerr // nothing is there to end, and that is told of
	}
	s := a.fromToken(token)
	return retry(func() error {
		rec := a.newRecorder(x.visit)
		rec.actor = Actor{Type: record.ActorUser, ID: s.User.ID}
		var ends []Write
		if a.listed() {
			switch _, err := a.noted(ctx, &token); {
			case errors.Is(err, errRevoked): // in another tab
				a.invalid(ctx, x.visit, x.firing, record.ReasonSessionRevoked)
				return nil
			case err != nil:
				return err
			}
			ends = append(ends, a.revoke(s.ID, x.now, lastsUntil(&token, x.now)))
		}
		u, c, err := rec.meetID(ctx, nil, s.User)
		if err != nil {
			return err
		}
		if foreign {
			old, err := rec.adoptToken(ctx, &token, u)
			if err != nil {
				return err
			}
			c.add(old)
		}
		ev := &SignOutEvent{Envelope: rec.envelope(record.TypeSignOut), Token: &token}
		ev.Envelope.Subject, ev.Envelope.Session = s.User.ID, s.ID
		c.does(ev, keys{u.Subject, u.Subject}, ends...)
		if err := a.act(ctx, x.firing, c); err != nil {
			return fmt.Errorf("end session: %w", err)
		}
		return nil
	})
}
