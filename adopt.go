package gatebook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"

	"github.com/gatebook/gatebook/record"
)

// What another program wrote into the tables is recorded when it is first met,
// before a response renews or uses it, and in the same commit as what is then
// done with it. A unique row decides who of all that meet it at once records it:
// the subject key of a user, the note of a database session, a used check for a
// token session.

// adopted returns the envelope of an event that tells of another program's deed:
// who did it, when and from where is not known.
func (r *recorder) adopted(typ string, u *User, sid string) Envelope {
	e := r.envelope(typ)
	e.Source, e.Actor, e.Initiator = record.SourceForeign, Actor{Type: record.ActorSystem}, "system"
	e.Request, e.Auth, e.Cause = RequestInfo{}, AuthInfo{}, ""
	e.Subject, e.Session = u.ID, sid
	return e
}

// meet gives u a subject key when the book has not met them.
func (r *recorder) meet(u *FoundUser) (c change) {
	if u.Subject.IsZero() {
		u.Subject = record.NewKey()
		c.does(r.userAdopted(&u.User), keys{subject: u.Subject}, AddSubject{UserID: u.User.ID, Subject: u.Subject})
	}
	return c
}

func (r *recorder) userAdopted(u *User) *UserAdoptedEvent {
	return &UserAdoptedEvent{Envelope: r.adopted(record.TypeUserAdopted, u, ""), User: u.clone()}
}

// meetID is meet for a user whom a token names. Whom the adapter does not have gets
// a key that is used once.
func (r *recorder) meetID(ctx context.Context, tx *sql.Tx, named User) (*FoundUser, change, error) {
	u := &FoundUser{User: named, Subject: record.NewKey()}
	if r.a.adapter == nil || named.ID == "" {
		return u, change{}, nil
	}
	found, err := r.a.find(ctx, Query{UserID: named.ID, Tx: tx})
	if err != nil || found.ByID == nil {
		return u, change{}, err
	}
	return found.ByID, r.meet(found.ByID), nil
}

// adoptRow meets u and their database session s, which has no sid yet, and gives it
// one. From is the request if that brought the session.
func (r *recorder) adoptRow(u *FoundUser, s *StoredSession, sid string, from RequestInfo) change {
	c := r.meet(u)
	s.ID = sid
	ev := &SessionAdoptedEvent{Envelope: r.adopted(record.TypeSessionAdopted, &u.User, sid), User: u.User.clone(), Session: s.clone()}
	ev.Request = from
	c.does(ev, keys{subject: u.Subject}, AdoptSession{Session: StoredSession{ID: sid, UserID: u.User.ID, Handle: s.Handle}})
	return c
}

// adoptToken meets the token session of another program, if nobody has. It is known
// by its token's jti: each token that the other program makes is a session to us,
// until we renew it. Known are users whom the act has read already.
func (r *recorder) adoptToken(ctx context.Context, token *Claims, known ...*FoundUser) (c change, err error) {
	s := r.a.fromToken(*token)
	if r.a.adapter == nil || r.a.met.has(s.ID) {
		return c, nil
	}
	digest := checkDigest("session.adopted", s.ID)
	found, err := r.a.find(ctx, Query{Check: digest})
	if err != nil || found.CheckUsed {
		return c, err
	}
	var user *FoundUser
	if i := slices.IndexFunc(known, func(k *FoundUser) bool { return k != nil && k.User.ID == s.User.ID }); i >= 0 {
		user = known[i]
		c = r.meet(user)
	} else if user, c, err = r.meetID(ctx, nil, s.User); err != nil {
		return c, err
	}
	ev := &SessionAdoptedEvent{Envelope: r.adopted(record.TypeSessionAdopted, &user.User, s.ID), User: user.User.clone(), Token: new(token.Clone())}
	ev.Request = r.request
	c.does(ev, keys{subject: user.Subject}, UseCheck{Digest: digest, Expires: cut(lastsUntil(token, r.now).Add(clockSlack))})
	return c, nil
}

// meetSession records a session that another program began, unless that was done.
// The error matches ErrNoSession when the session has ended meanwhile; after any
// other it must not be used: nothing tells of it.
func (a *Auth) meetSession(ctx context.Context, v *visit, f *firing, token string, s *Session) error {
	var err error
	switch {
	case !s.foreign || a.adapter == nil:
	case s.Strategy == StrategyJWT:
		err = a.meetToken(ctx, v, f, s.Token)
	default:
		err = a.meetRow(ctx, v, f, token, s)
	}
	if err != nil && !errors.Is(err, ErrNoSession) {
		return fmt.Errorf("record a session of another program: %w", err)
	}
	return err
}

func (a *Auth) meetToken(ctx context.Context, v *visit, f *firing, token *Claims) error {
	sid := token.String("sid")
	if a.met.has(sid) {
		return nil
	}
	err := retry(func() error {
		c, err := a.newRecorder(v).adoptToken(ctx, token)
		if err != nil || len(c.events) == 0 {
			return err
		}
		return a.act(ctx, f, c)
	})
	if err == nil {
		a.met.add(sid)
	}
	return err
}

func (a *Auth) meetRow(ctx context.Context, v *visit, f *firing, token string, s *Session) error {
	return retry(func() error {
		r := a.newRecorder(v)
		u, row := &FoundUser{User: s.User, Subject: s.subject}, s.Stored.clone()
		err := a.act(ctx, f, r.adoptRow(u, row, s.ID, r.request))
		if err == nil {
			s.Stored, s.subject, s.foreign = row, u.Subject, false
		}
		if !isConflict(err) {
			return err
		}
		// Another request met it first, or it has ended.
		if rerr := a.readAgain(ctx, token, s); rerr != nil || !s.foreign {
			return rerr
		}
		return err
	})
}

// readAgain reads a database session anew.
func (a *Auth) readAgain(ctx context.Context, token string, s *Session) error {
	found, err := a.sessionToEnd(ctx, token)
	if err != nil {
		return err
	}
	again, err := a.fromRow(ctx, found)
	if err == nil {
		*s = *again
	}
	return err
}

// foreignSID returns the sid of a session that another program began: a digest of
// what identifies it there, under a key of the book, which is never rotated. So
// every server gives it the same, and the sid in the book tells nothing of a
// token.
func (a *Auth) foreignSID(ctx context.Context, identifier string) (string, error) {
	id, err := a.bookKeys(ctx)
	if err != nil {
		return "", err
	}
	// Most of the work is the key's, and it is done for each token that has no sid.
	mac, ok := id.macs.Get().(hash.Hash)
	if !ok {
		mac = hmac.New(sha256.New, id.sids)
	}
	defer id.macs.Put(mac)
	mac.Reset()
	_, _ = io.WriteString(mac, identifier) // a hash takes everything
	var sum [sha256.Size]byte
	return base64.RawURLEncoding.EncodeToString(mac.Sum(sum[:0])[:16]), nil
}

// sid returns the sid of a row. One that another program began gets it from its
// handle, which a list of sessions has too.
func (a *Auth) sid(ctx context.Context, s *StoredSession) (string, error) {
	if s.ID != "" {
		return s.ID, nil
	}
	return a.foreignSID(ctx, s.Handle)
}

// maxMet is how many token sessions of other programs a generation of metSet
// remembers.
const maxMet = 1 << 16

// metSet remembers which token sessions of other programs were met, so that the
// store is asked once and not at each use. It forgets the oldest; of those the
// store is asked again. It keeps no pointers, as [useTable] does not.
type metSet struct {
	mu          sync.Mutex
	now, before map[[22]byte]struct{}
}

func (s *metSet) has(sid string) bool {
	k := metKey(sid)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.now[k]; ok {
		return true
	}
	_, ok := s.before[k]
	if ok {
		s.put(k)
	}
	return ok
}

func (s *metSet) add(sid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(metKey(sid))
}

func (s *metSet) put(k [22]byte) {
	if len(s.now) >= maxMet {
		s.now, s.before = nil, s.now
	}
	if s.now == nil {
		s.now = map[[22]byte]struct{}{}
	}
	s.now[k] = struct{}{}
}

// metKey is a sid that foreignSID made, as a key.
func metKey(sid string) (k [22]byte) {
	copy(k[:], sid)
	return k
}
