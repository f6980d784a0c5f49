package gatebook

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook/record"
)

// proved is a sign-in after its proof, on its way to a session.
type proved struct {
	info          ProviderInfo
	method        string
	profile       User
	account       Account
	raw           *Claims
	emailVerified bool
	linkByEmail   bool
	auth          AuthInfo
	credentials   map[string]string

	passkey *passkeyProof
	from    string // the sid of the session that granted a code

	query  Query
	check  [32]byte
	use    []Write // what the first commit uses up
	vetoed bool    // the signIn callback was asked

	// claims are those that a session token begins with; empty, the user's.
	claims Claims

	newUserID string
	reserved  bool // newUserID is for nobody else
	omitted   []string
	// token is what the jwt callback returned for the user tokenFor; refusal is
	// what it came to when it gave none.
	token    *Claims
	encoded  string
	tokenFor string
	newSID   string
	sid      string         // of the session that begins or goes on
	old      Claims         // of the token that came with the request
	foreign  bool           // another program began its session
	note     *StoredSession // what is noted of it
}

// named reports whether the proof itself says which user it is, who may be none of
// the adapter's.
func (in *proved) named() bool { return in.method == TypeCredentials || in.method == TypeNative }

// accountOf is the account as it is shown once user is known: where the provider
// is ours, with the user's id.
func (in *proved) accountOf(user *User) *Account {
	account := in.account.clone()
	if in.method == TypeEmail || in.method == TypeWebAuthn {
		account.UserID = user.ID
	}
	return account
}

// finish decides a proved sign-in, carries it out and answers. When another act
// gets in its way it is decided anew from fresh reads; callbacks are not called
// again.
func (x *exchange) finish(in *proved) {
	ctx := context.WithoutCancel(x.r.Context())
	if no := in.unfit(); no != nil {
		x.refuse(*no)
		return
	}
	if in.newUserID == "" {
		in.newUserID = uuid.NewString()
	}
	if in.newSID == "" {
		in.newSID = newSID()
	}
	var no *refused
	err := retry(func() (err error) {
		no = nil
		t, no2, err := x.read(ctx, in)
		if err != nil || no2 != nil {
			no = no2
			return err
		}
		if no, err = x.fit(ctx, in, t); no != nil || err != nil {
			return err
		}
		if !in.vetoed {
			in.vetoed = true
			user := in.profile.clone()
			switch {
			case in.named():
			case t.byAccount != nil:
				user = t.byAccount.User.clone()
			case in.method == TypeEmail && t.byEmail != nil:
				user = t.byEmail.User.clone()
			case in.method == TypeWebAuthn && t.signedIn != nil: // who adds a passkey
				user = t.signedIn.User.clone()
			default:
				user.ID = in.newUserID
			}
			account := in.account.clone()
			if in.method == TypeEmail {
				account.UserID = user.ID
			}
			if no = x.veto(ctx, &SignInAttempt{User: user, Account: account, Profile: in.raw.clone(), Credentials: in.credentials}); no != nil {
				no.known = t.byAccount
				if no.known == nil {
					no.known = t.byEmail
				}
				return nil
			}
		}
		no, err = x.carryOut(ctx, in, t)
		return err
	})
	switch {
	case err != nil:
		r := notStored(err)
		r.auth = in.info
		x.refuse(r)
	case no != nil:
		if in.method == TypeNative && no.cause == record.TypeReplayDetected { // at the same moment
			x.endNative(ctx, in)
		}
		no.auth = in.info
		if no.target == "" {
			no.target = in.profile.Email
		}
		if no.writes == nil && no.cause != record.TypeReplayDetected {
			no.writes = in.use
		}
		x.refuse(*no)
	}
}

// notStored refuses a sign-in that could not be committed: because of the store,
// because what a provider says does not fit into it, or because an InTx handler did
// not want it.
func notStored(err error) refused {
	var own *inTxError
	if errors.As(err, &own) {
		return refused{reason: record.ReasonInternal, step: "InTx handler", err: own.err}
	}
	var token *tokenError
	if errors.As(err, &token) {
		return refused{reason: record.ReasonInternal, step: token.Error(), err: token.err}
	}
	if errors.Is(err, ErrUnfit) { // its text names a column, and no value
		return refused{reason: record.ReasonProfileInvalid, step: err.Error()}
	}
	return refused{reason: record.ReasonStoreError, step: "store the sign-in", err: err}
}

// fit gives a user who is about to be created an id that the adapter makes, and
// leaves out of an account what its table cannot hold.
func (x *exchange) fit(ctx context.Context, in *proved, t *attempt) (*refused, error) {
	if x.a.adapter == nil {
		return nil, nil
	}
	d := x.decision(in, t)
	if _, ok := x.a.adapter.(IDMaker); ok && d.created && !in.reserved {
		id, err := x.a.newUserID(ctx, &d.user.User, nil)
		if err != nil {
			return nil, err
		}
		in.newUserID, in.reserved, t.newUserID = id, true, id
	}
	if !d.linked {
		return nil, nil
	}
	var err error
	if t.account, in.omitted, err = x.a.fit(&in.account); err != nil {
		return &refused{reason: record.ReasonProfileInvalid, step: err.Error()}, nil //nolint:nilerr // it is the refusal
	}
	return nil, nil
}

// newSID returns a new session id, 22 characters.
func newSID() string { return record.NewKey().String() }

// read asks what the decision needs. A nil attempt means that it refuses.
func (x *exchange) read(ctx context.Context, in *proved) (*attempt, *refused, error) {
	a := x.a
	t := &attempt{method: in.method, profile: in.profile, account: in.account, emailVerified: in.emailVerified,
		linkByEmail: in.linkByEmail, database: a.cfg.Session.Strategy == StrategyDatabase, now: x.now, newUserID: in.newUserID}
	token, _ := x.sessionChunks()
	tokenUser := ""
	in.old, in.foreign, in.note = Claims{}, false, nil
	if token != "" && !t.database {
		if c, foreign, err := a.openToken(ctx, token, x.now, x.cookieName(sessionCookie)); err == nil {
			in.old, in.foreign = c, foreign
			tokenUser = c.String("sub")
		}
	}
	if a.adapter == nil {
		return t, nil, nil
	}
	q := in.query
	if t.database && len(token) <= maxRowToken {
		q.Session = Secret(token)
	} else if !in.named() {
		q.UserID = tokenUser
	}
	if a.listed() && tokenUser != "" {
		q.TokenSession = a.listID(in.old.String("sid"))
	}
	found, err := a.find(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	if found.Revoked { // whoever brings the token is nobody
		in.old, in.foreign, tokenUser = Claims{}, false, ""
	}
	in.note = found.TokenSession
	if found.CheckUsed || in.query.Verification != "" && found.Verification == nil {
		r := x.replay(in)
		r.known = found.ByEmail
		return nil, &r, nil
	}
	t.byAccount, t.byEmail = found.ByAccount, found.ByEmail
	switch {
	case t.database && found.Session != nil && found.Session.Session.Expires.After(x.now):
		t.session, t.signedIn = &found.Session.Session, &found.Session.FoundUser
	case !t.database && !in.named() && tokenUser != "":
		t.signedIn = found.ByID
	case a.listed() && tokenUser != "" && tokenUser != in.profile.ID: // a password for another user
		old, err := a.find(ctx, Query{UserID: tokenUser})
		if err != nil {
			return nil, nil, err
		}
		t.signedIn = old.ByID
	}
	if in.passkey != nil {
		if no, err := x.checkPasskey(ctx, in, t, found); no != nil || err != nil {
			return nil, no, err
		}
	}
	if in.named() {
		t.byAccount = found.ByID
		if t.database && found.ByID == nil {
			return nil, &refused{reason: record.ReasonConfiguration,
				step: "credentials with database sessions need a user of the adapter, and Authorize returned another"}, nil
		}
	}
	return t, nil, nil
}

// decision decides; credentials and sign-ins without an adapter take the user
// as it was proved.
func (x *exchange) decision(in *proved, t *attempt) decision {
	if x.a.adapter != nil && !in.named() {
		return decide(*t)
	}
	d := decision{user: FoundUser{User: in.profile}}
	if !in.named() {
		d.user.User.ID = in.newUserID
	}
	if t.byAccount != nil {
		d.user.Subject = t.byAccount.Subject
		d.meet()
	} else {
		d.user.Subject = record.NewKey()
	}
	d.ends = t.signedIn != nil && t.signedIn.User.ID != d.user.User.ID
	return d
}

// carryOut commits a decided sign-in and answers, or says why it is refused.
func (x *exchange) carryOut(ctx context.Context, in *proved, t *attempt) (*refused, error) {
	d := x.decision(in, t)
	if d.refused != "" {
		page := "OAuthAccountNotLinked"
		if in.method == TypeWebAuthn {
			page = "AccountNotLinked"
		}
		no := &refused{page: page, reason: d.refused, step: "the account belongs to another user or needs linking",
			account: &AccountKey{in.account.Provider, in.account.ProviderAccountID}}
		if d.user.User.ID != "" { // nobody has a decoy
			no.known = &d.user
		}
		return no, nil
	}
	rec := x.a.newRecorder(x.visit)
	rec.actor = Actor{Type: record.ActorUser, ID: d.user.User.ID}
	rec.auth = in.auth
	k := keys{subject: d.user.Subject, actor: d.user.Subject}
	c, err := x.changes(ctx, rec, in, t, d, k)
	if err != nil {
		return nil, err
	}
	if t.database {
		return nil, x.signInRow(ctx, rec, in, t, d, c)
	}
	return x.signInToken(ctx, rec, in, t, d, c)
}

// changes returns what a sign-in does to user and account, after whom and what it
// meets.
func (x *exchange) changes(ctx context.Context, rec *recorder, in *proved, t *attempt, d decision, k keys) (change, error) {
	c := change{writes: slices.Clone(in.use)}
	if d.met {
		c.does(rec.userAdopted(&d.user.User), keys{subject: k.subject}, AddSubject{UserID: d.user.User.ID, Subject: d.user.Subject})
	}
	old, err := x.meetOld(ctx, rec, in, t, d)
	if err != nil {
		return c, err
	}
	c.add(old)
	c.writes = append(c.writes, d.writes...)
	add := func(ev Event) {
		ev.Meta().Subject = d.user.User.ID
		c.does(ev, k)
	}
	if d.created {
		add(&CreateUserEvent{Envelope: rec.envelope(record.TypeCreateUser), User: d.user.User.clone(),
			SignInInfo: &SignInInfo{Provider: in.info.ID, Account: in.account.clone(), Profile: in.raw.clone()}})
	}
	if d.updated {
		add(&UpdateUserEvent{Envelope: rec.envelope(record.TypeUpdateUser), User: d.user.User.clone(), Changed: []string{"emailVerified"}})
	}
	if d.linked {
		profile := in.profile
		add(&LinkAccountEvent{Envelope: rec.envelope(record.TypeLinkAccount), User: d.user.User.clone(), Account: in.account.clone(), Profile: &profile})
		if len(in.omitted) > 0 {
			add(rec.tokensOmitted(&d.user.User, &in.account, in.omitted))
		}
	}
	if k := d.passkey; k != nil {
		add(&PasskeyEvent{Envelope: rec.envelope(record.TypePasskeyAdded), User: d.user.User.clone(), Passkey: k.clone(),
			AAGUID: in.passkey.registration.AAGUID})
	}
	return c, nil
}

// meetOld meets the session that the browser came with, if another program began
// it: whatever becomes of it.
func (x *exchange) meetOld(ctx context.Context, rec *recorder, in *proved, t *attempt, d decision) (change, error) {
	switch {
	case t.session != nil && t.session.ID == "":
		sid, err := x.a.sid(ctx, t.session)
		if err != nil {
			return change{}, err
		}
		u := t.signedIn
		if u.User.ID == d.user.User.ID {
			u = &d.user
		}
		return rec.adoptRow(u, t.session, sid, rec.request), nil
	case in.foreign:
		return rec.adoptToken(ctx, &in.old, &d.user, t.signedIn)
	}
	return change{}, nil
}

// signInEvent returns the signIn event of a carried-out decision.
func (x *exchange) signInEvent(rec *recorder, in *proved, d decision, sid string) *SignInEvent {
	ev := &SignInEvent{Envelope: rec.envelope(record.TypeSignIn), User: d.user.User.clone(), Account: in.accountOf(&d.user.User),
		Profile: in.raw.clone(), strategy: x.a.cfg.Session.Strategy}
	if x.a.adapter != nil && !in.named() {
		ev.IsNewUser = new(d.isNew)
	}
	ev.Subject, ev.Session = d.user.User.ID, sid
	return ev
}

// signInRow signs in with a database session: everything is one commit.
func (x *exchange) signInRow(ctx context.Context, rec *recorder, in *proved, t *attempt, d decision, c change) error {
	k := keys{subject: d.user.Subject, actor: d.user.Subject}
	if d.ends && t.session != nil {
		c.add(x.displaced(rec, t.signedIn, t.session.ID, k.actor, DeleteSession{Handle: t.session.Handle}))
	}
	token, err := x.a.newToken()
	if err != nil {
		return err
	}
	row := StoredSession{Token: token, UserID: d.user.User.ID, ID: in.newSID,
		Expires: cut(x.now.Add(x.a.cfg.Session.MaxAge)), Begun: x.now, Provider: in.info.ID, UserAgent: userAgent(x.r)}
	if d.keep && t.session != nil {
		row = *t.session
		row.Token, _ = secretOf(x.sessionChunks())
		// Written anew, so that a session that was ended since it was read
		// is a conflict: it must not link an account, nor go on.
		c.writes = append(c.writes, DeleteSession{Handle: row.Handle})
	}
	c.does(x.signInEvent(rec, in, d, row.ID), k, CreateSession{Session: row})
	if err := x.a.act(ctx, x.firing, c); err != nil {
		return err
	}
	x.sendSession(string(row.Token), row.Expires)
	x.welcome(in, d)
	return nil
}

// displaced ends a session whose browser somebody else now signs in with.
func (x *exchange) displaced(rec *recorder, old *FoundUser, sid string, actor record.Key, end Write) change {
	c := rec.meet(old)
	ev := &SessionRevokedEvent{Envelope: rec.envelope(record.TypeSessionRevoked), User: old.User.clone(), Scope: scopeOne, Count: 1,
		strategy: x.a.cfg.Session.Strategy, why: whyOtherUser}
	ev.Subject, ev.Session = old.User.ID, sid
	c.does(ev, keys{subject: old.Subject, actor: actor}, end)
	return c
}

func secretOf(value string, _ []string) (Secret, bool) { return Secret(value), value != "" }

func (x *exchange) sendSession(value string, expires time.Time) {
	x.a.sendSession(x.visit, value, expires)
}

// signInToken signs in with a token session: the writes with their events
// first, then, after the jwt callback, signIn. A first commit that would tell of
// nothing is left out, and what it writes goes with the second.
func (x *exchange) signInToken(ctx context.Context, rec *recorder, in *proved, t *attempt, d decision, c change) (*refused, error) {
	k := keys{subject: d.user.Subject, actor: d.user.Subject}
	in.sid = in.newSID
	if sid, ok := in.old.o.String("sid"); ok && d.keep {
		in.sid = sid
	}
	note := x.noteSignIn(in, t, d)
	if d.ends && x.a.listed() {
		sid := in.old.String("sid")
		c.add(x.displaced(rec, t.signedIn, sid, k.actor, x.a.revoke(sid, x.now, lastsUntil(&in.old, x.now))))
	}
	first := len(c.events) > 0
	if first {
		if d.keep { // a session that was ended since it was read must not link an account
			c.writes, note = append(c.writes, note...), nil
		}
		if err := x.a.act(ctx, x.firing, c); err != nil {
			return nil, err
		}
		c, in.use = change{}, nil
	}
	if in.tokenFor != d.user.User.ID {
		if in.tokenFor != "" {
			return nil, errors.New("the account changed hands during the sign-in")
		}
		in.tokenFor = d.user.User.ID
		if no := x.makeToken(ctx, in, d); no != nil {
			no.known, no.writes = x.knownUser(d), c.writes
			if no.page == "" && no.err == nil { // the callback gave nothing: no session, and on
				return nil, x.endWithoutToken(in, no)
			}
			return no, nil
		}
	}
	if in.token.String("sid") != in.sid { // of a try in which another session was to go on
		in.token.o.SetString("sid", in.sid)
		if no := x.encode(ctx, in); no != nil {
			no.known, no.writes = x.knownUser(d), c.writes
			return no, nil
		}
	}
	c.does(x.signInEvent(rec, in, d, in.sid), k, note...)
	commit := func() error { return x.a.act(ctx, x.firing, c) }
	var err error
	if first {
		// The first commit is done, so nothing is decided anew.
		if err = retry(commit); err != nil {
			no := notStored(err)
			no.known = x.knownUser(d)
			return &no, nil
		}
	} else if err = commit(); err != nil {
		return nil, err
	}
	x.sendSession(in.encoded, x.now.Add(x.a.cfg.Session.MaxAge))
	x.welcome(in, d)
	return nil, nil
}

// noteSignIn returns the writes that note the session of a sign-in, if token
// sessions are listed. Of a user who was deleted since they were read none begins:
// their deletion ended those it found.
func (x *exchange) noteSignIn(in *proved, t *attempt, d decision) []Write {
	if !x.a.listed() {
		return nil
	}
	s := StoredSession{ID: in.sid, UserID: d.user.User.ID, Begun: x.now, Provider: in.info.ID, UserAgent: userAgent(x.r)}
	if d.keep && in.note != nil {
		s = *in.note
	}
	note := x.a.note(s, x.now)
	if in.named() && t.byAccount == nil { // whom only the application knows
		return []Write{note}
	}
	return []Write{UpdateUser{User: User{ID: d.user.User.ID}}, note}
}

// knownUser is the user a refused attempt is about, when the store has them.
func (x *exchange) knownUser(d decision) *FoundUser {
	if x.a.adapter == nil || d.user.Subject.IsZero() {
		return nil
	}
	u := d.user
	return &u
}

// makeToken builds the claims of a new session token and calls the jwt callback.
func (x *exchange) makeToken(ctx context.Context, in *proved, d decision) *refused {
	user := &d.user.User
	c := in.claims.Clone()
	if c.Len() == 0 {
		c = userClaims(user, x.a.adapter != nil && in.method != TypeCredentials)
	}
	c.o.SetString("sid", in.sid)
	in.token = &c
	if x.a.cfg.Callbacks.JWT == nil {
		return x.encode(ctx, in)
	}
	p := &JWTParams{Token: c.Clone(), User: user.clone(), Account: in.accountOf(user), Profile: in.raw.clone(), Trigger: "signIn"}
	if x.a.adapter != nil || in.method == TypeCredentials {
		p.IsNewUser = new(d.isNew)
	}
	if d.isNew {
		p.Trigger = "signUp"
	}
	token, err := x.a.callJWT(ctx, p, c)
	in.token = token
	switch {
	case err != nil:
		return &refused{reason: record.ReasonInternal, step: "jwt callback", err: err}
	case token == nil:
		return &refused{reason: record.ReasonAccessDenied, step: "the jwt callback gave no token"}
	}
	return x.encode(ctx, in)
}

// userClaims are the claims of a new session token. A column without a value is
// null; what a provider or Authorize did not say is left out.
func userClaims(user *User, row bool) (c Claims) {
	for _, m := range [...][2]string{{"name", user.Name}, {"email", user.Email}, {"picture", user.Image}} {
		switch {
		case m[1] != "":
			c.o.SetString(m[0], m[1])
		case row:
			_ = c.o.SetRaw(m[0], []byte("null")) // null is JSON
		}
	}
	c.o.SetString("sub", user.ID)
	return c
}

// encode makes the token that the cookie gets. It does so before the sign-in is
// recorded: a token that cannot be made is a sign-in that failed.
func (x *exchange) encode(ctx context.Context, in *proved) *refused {
	var err error
	if in.encoded, err = x.a.encodeToken(ctx, x.visit, in.token); err != nil {
		return &refused{reason: record.ReasonInternal, step: "encode the session token", err: err}
	}
	return nil
}

// endWithoutToken answers a sign-in for which the jwt callback gave nothing:
// any session ends, and the visitor goes on without one.
func (x *exchange) endWithoutToken(in *proved, no *refused) error {
	no.auth, no.target = in.info, in.profile.Email
	e := &routeError{step: no.step, reason: no.reason, unrecorded: x.recordRefusal(*no)}
	x.logFailure(e)
	if in.method == TypeNative {
		x.nativeFailed(e)
		return nil
	}
	x.a.endCookies(x.visit)
	x.redirect(x.callback)
	return nil
}

// welcome sends a signed-in visitor on.
func (x *exchange) welcome(in *proved, d decision) {
	if x.action == "native-token" {
		x.sendNative(in)
		return
	}
	if page := x.a.cfg.Pages.NewUser; d.isNew && page != "" {
		x.redirect(x.origin + withQuery(page, "callbackUrl", x.callback))
		return
	}
	x.redirect(x.callback)
}
