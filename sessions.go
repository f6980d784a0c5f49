package gatebook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatebook/gatebook/record"
)

// ErrNotRevocable says that sessions cannot be ended from here: they are tokens
// that visitors hold, and [SessionConfig].Revocable is off.
var ErrNotRevocable = errors.New("gatebook: token sessions cannot be revoked unless Config.Session.Revocable is set")

// What a session.revoked covers.
const (
	scopeOne    = "one"
	scopeOthers = "others"
	scopeAll    = "all"
)

// maxSessions is how many sessions an adapter lists at once.
const maxSessions = 1000

// Sessions lists the sessions of a user that have not expired, newest first, of
// the newest 1,000, without tokens. Each has its ID; Begun, Provider and
// UserAgent are empty for a session that another program began. Of token sessions
// it lists what is noted; the error is [ErrNotRevocable] when nothing is. An
// unknown user has none.
func (a *Auth) Sessions(ctx context.Context, userID string) ([]StoredSession, error) {
	if err := a.canRevoke(); err != nil {
		return nil, err
	}
	if !plainText(userID) {
		return nil, nil // nobody's
	}
	list, err := a.adapter.Sessions(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	now := a.now()
	list = slices.DeleteFunc(list, func(s StoredSession) bool { return !a.current(&s) || !s.Expires.After(now) })
	for i := range list {
		if list[i].ID, err = a.sid(ctx, &list[i]); err != nil {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		if a.listed() {
			list[i].Expires = list[i].Expires.Add(-clockSlack)
		}
	}
	return list, nil
}

// canRevoke reports why sessions can neither be listed nor ended.
func (a *Auth) canRevoke() error {
	switch {
	case a.adapter == nil:
		return errNoAdapter
	case a.cfg.Session.Strategy == StrategyJWT && !a.cfg.Session.Revocable:
		return ErrNotRevocable
	}
	return nil
}

// goesOn reports whether a session of a user has not ended, as far as that can be
// known.
func (a *Auth) goesOn(ctx context.Context, userID, sid string) (bool, error) {
	switch {
	case a.listed():
		found, err := a.find(ctx, Query{TokenSession: a.listID(sid)})
		return err == nil && !found.Revoked, err
	case a.cfg.Session.Strategy == StrategyJWT:
		return true, nil
	}
	list, err := a.Sessions(ctx, userID)
	return slices.ContainsFunc(list, func(s StoredSession) bool { return s.ID == sid }), err
}

// current reports whether a listed session is of the strategy in force: rows of
// the other may be left from before.
func (a *Auth) current(s *StoredSession) bool {
	return (s.Handle != "") == (a.cfg.Session.Strategy == StrategyDatabase)
}

// RevokeSession ends the session of a user that has the id sid and records
// session.revoked. The error matches ErrNotFound when the user has no such
// session, and [ErrNotRevocable] when token sessions cannot be ended. Of token
// sessions those that no list tells of, because another program began them or
// the list was off then, can be ended by the sid that events give them; whose
// they are is not checked, for nobody knows.
func (a *Auth) RevokeSession(ctx context.Context, userID, sid string) error {
	return a.own(nil).RevokeSession(ctx, userID, sid)
}

// RevokeOtherSessions ends all sessions of a user but the one that has the id sid,
// and is [Auth.RevokeSessions] otherwise.
func (a *Auth) RevokeOtherSessions(ctx context.Context, userID, sid string) (int, error) {
	return a.own(nil).RevokeOtherSessions(ctx, userID, sid)
}

// RevokeSessions ends all sessions of a user, also those that begin meanwhile,
// records session.revoked (once for each 1,000), and returns how many there were;
// after an error, how many had ended by then. With token sessions the error is [ErrNotRevocable] unless
// they can be ended.
func (a *Auth) RevokeSessions(ctx context.Context, userID string) (int, error) {
	return a.own(nil).RevokeSessions(ctx, userID)
}

// RevokeSession is [Auth.RevokeSession] in this transaction.
func (t *Transaction) RevokeSession(ctx context.Context, userID, sid string) error {
	if err := t.a.canRevoke(); err != nil {
		return err
	}
	err := errNoSuchSession
	if sid != "" {
		_, err = t.revokeSome(ctx, userID, scopeOne, sid)
	}
	if err != nil {
		return fmt.Errorf("revoke session: %w", err)
	}
	return nil
}

// RevokeOtherSessions is [Auth.RevokeOtherSessions] in this transaction, with the
// limits of [Transaction.RevokeSessions].
func (t *Transaction) RevokeOtherSessions(ctx context.Context, userID, sid string) (int, error) {
	return t.revokeAll(ctx, userID, scopeOthers, sid)
}

// RevokeSessions is [Auth.RevokeSessions] in this transaction, where it ends at
// most 1,000 sessions and fails when there may be more.
func (t *Transaction) RevokeSessions(ctx context.Context, userID string) (int, error) {
	return t.revokeAll(ctx, userID, scopeAll, "")
}

func (t *Transaction) revokeAll(ctx context.Context, userID, scope, keep string) (int, error) {
	if err := t.a.canRevoke(); err != nil {
		return 0, err
	}
	total := 0
	for {
		n, err := t.revokeSome(ctx, userID, scope, keep)
		total += n
		switch {
		case err != nil && (total == 0 || !errors.Is(err, ErrNotFound)): // later there is none left to find
			return total, fmt.Errorf("revoke sessions: %w", err)
		case n == 0:
			return total, nil
		case t.tx == nil:
			// Listed again: one of those that ended may have begun another
			// meanwhile, by a code of a native client.
		case n < maxSessions && (scope == scopeAll || n < maxSessions-1): // of those listed one may be kept
			return total, nil
		default:
			// What is left cannot be told from what was deleted just now: the
			// list is not read inside the transaction.
			return total, errors.New("gatebook: more than 1,000 sessions cannot be revoked inside a transaction: use Auth")
		}
	}
}

// revokeSome ends those of the sessions that the adapter lists that scope and sid
// say, in an act of its own.
func (t *Transaction) revokeSome(ctx context.Context, userID, scope, sid string) (n int, err error) {
	err = t.again(func() error {
		n = 0
		r, actor, err := t.recorder(ctx)
		if err != nil {
			return err
		}
		found, c, unknown := t.user(ctx, r, userID)
		switch {
		case errors.Is(unknown, ErrNotFound) && t.a.listed():
			// Tokens may be of somebody whom only the application knows.
			found = &FoundUser{User: User{ID: userID}, Subject: record.NewKey()}
		case unknown != nil:
			return unknown
		}
		ends, old, err := t.ends(ctx, r, found, scope, sid)
		if err != nil || len(ends) == 0 {
			return cmp.Or(err, unknown)
		}
		c.add(old)
		ev := &SessionRevokedEvent{Envelope: r.envelope(record.TypeSessionRevoked), User: found.User.clone(),
			Scope: scope, Count: len(ends), strategy: t.a.cfg.Session.Strategy, why: whyApp}
		if t.source == record.SourceGatebook {
			ev.why = whyUser
		}
		ev.Subject = userID
		if scope == scopeOne {
			ev.Session = sid
		}
		c.does(ev, keys{found.Subject, actor}, ends...)
		if err := t.commit(ctx, c); err != nil {
			return err
		}
		n = len(ends)
		return nil
	})
	return n, err
}

// ends returns the writes that end the sessions of a user that scope and sid say,
// and what meets those of them that another program began.
func (t *Transaction) ends(ctx context.Context, r *recorder, u *FoundUser, scope, sid string) (writes []Write, old change, err error) {
	userID := u.User.ID
	if !plainText(userID) {
		return nil, old, errNoSuchSession
	}
	list, err := t.a.adapter.Sessions(ctx, userID)
	if err != nil {
		return nil, old, err
	}
	here, until := t.here(ctx, userID)
	if t.a.listed() {
		sid = t.a.listID(sid)
	}
	for i := range list {
		id, err := t.a.sid(ctx, &list[i])
		if err != nil {
			return nil, old, err
		}
		if id == here {
			here = "" // it is in the list, like most
			if until.After(list[i].Expires) {
				list[i].Expires = until
			}
		}
		if scope == scopeAll || (id == sid) == (scope == scopeOne) {
			if list[i].ID == "" {
				old.add(r.adoptRow(u, &list[i], id, RequestInfo{}))
			}
			writes = append(writes, t.a.end(&list[i]))
		}
	}
	if scope == scopeAll && here != "" {
		writes, err = t.endUnlisted(ctx, userID, here, until, writes)
		return writes, old, err
	}
	if scope == scopeOne && len(writes) == 0 {
		if !t.a.listed() || t.source == record.SourceGatebook && sid != here {
			return nil, old, errNoSuchSession
		}
		if sid != here {
			until = t.a.now() // nobody knows
		}
		writes, err = t.endUnlisted(ctx, userID, sid, until, nil)
		if err == nil && len(writes) == 0 {
			err = errNoSuchSession
		}
	}
	return writes, old, err
}

var errNoSuchSession = fmt.Errorf("%w: the user has no such session", ErrNotFound)

// here returns the sid of the token session in ctx, and until when its token
// lasts, when it is the user's, or "".
func (t *Transaction) here(ctx context.Context, userID string) (sid string, until time.Time) {
	res, ok := ctx.Value(sessionKey{}).(*resolved)
	if !ok || res.auth != t.a || res.session == nil || !t.a.listed() || res.session.User.ID != userID {
		return "", until
	}
	return t.a.listID(res.session.ID), lastsUntil(res.session.Token, t.a.now())
}

// endUnlisted adds the write that ends a token session that no note tells of and
// whose token lasts until then, unless it has ended, or is somebody else's.
func (t *Transaction) endUnlisted(ctx context.Context, userID, sid string, until time.Time, writes []Write) ([]Write, error) {
	found, err := t.a.find(ctx, Query{TokenSession: sid, Tx: t.tx})
	if err != nil || found.Revoked || found.TokenSession != nil && found.TokenSession.UserID != userID {
		return writes, err
	}
	return append(writes, t.a.revoke(sid, t.a.now(), until)), nil
}

// end returns the write that ends a listed session.
func (a *Auth) end(s *StoredSession) Write {
	if s.Handle != "" {
		return DeleteSession{Handle: s.Handle}
	}
	return a.revoke(s.ID, a.now(), s.Expires)
}
