package gatebook

import (
	"time"

	"github.com/gatebook/gatebook/record"
)

// attempt is what a sign-in is decided on: what the provider proved and what
// the adapter found. Deciding changes nothing and asks nothing.
type attempt struct {
	method        string // TypeOAuth, TypeOIDC, TypeEmail, TypeWebAuthn
	profile       User   // mapped; e-mail in lower case
	account       Account
	passkey       *Authenticator // that was registered
	decoy         bool           // its id is taken by nobody, and must not show it
	emailVerified bool
	linkByEmail   bool
	database      bool // the strategy
	now           time.Time

	// session is the live database session that came with the request, signedIn
	// the user it or the session token belongs to.
	session   *StoredSession
	signedIn  *FoundUser
	byAccount *FoundUser
	byEmail   *FoundUser
	newUserID string
}

// decision is what a sign-in comes to: a refusal, or a user with the writes and
// the events that tell of them.
type decision struct {
	refused string // a reason code, or empty

	user FoundUser
	// met says that another program made the user, and that the book meets them
	// now.
	met     bool
	isNew   bool
	created bool
	updated bool
	linked  bool
	passkey *Authenticator // that was added
	// keep says that the session that came with the request goes on; ends says
	// that it belongs to somebody else and ends.
	keep bool
	ends bool
	// writes are those of user and account, in order.
	writes []Write
}

// decide is the decision table of a sign-in. Its rows have the names of Auth.js
// behaviour: E for magic links, O for OAuth and OpenID Connect, W for passkeys,
// which are decided as O1 to O5 and O7. Where we differ:
// an expired session counts as none, an account is linked by e-mail only when
// the provider verified the address, and a session that somebody else's sign-in
// replaces ends at once.
func decide(t attempt) decision {
	if t.method == TypeEmail {
		return t.email()
	}
	return t.linked()
}

func (t attempt) email() decision {
	if t.byEmail == nil { // E3, E4
		user := t.profile
		user.EmailVerified = t.now
		d := t.create(user)
		d.ends = t.signedIn != nil
		return d
	}
	// E1, E2: a known address, verified anew.
	d := decision{user: *t.byEmail, updated: true}
	d.user.User.EmailVerified = t.now
	d.ends = t.signedIn != nil && t.signedIn.User.ID != d.user.User.ID
	d.meet()
	d.writes = append(d.writes, UpdateUser{User: d.user.User, Fields: []string{"emailVerified"}})
	return d
}

func (t attempt) linked() decision {
	switch {
	case t.byAccount != nil && t.signedIn != nil && t.signedIn.User.ID != t.byAccount.User.ID: // O2, W2
		return decision{refused: record.ReasonLinkedToOtherUser, user: *t.byAccount}
	case t.decoy: // W2 for all that anybody can tell
		return decision{refused: record.ReasonLinkedToOtherUser}
	case t.byAccount != nil: // O1, O3, W1, W3
		d := decision{user: *t.byAccount, keep: t.signedIn != nil}
		d.meet()
		return d
	case t.signedIn != nil: // O4, W4
		d := decision{user: *t.signedIn, keep: true}
		d.meet()
		d.link(t)
		return d
	case t.byEmail == nil: // O5, W5
		d := t.create(t.profile)
		d.link(t)
		return d
	case t.linkByEmail && t.emailVerified: // O6
		d := decision{user: *t.byEmail}
		d.meet()
		d.link(t)
		return d
	}
	return decision{refused: record.ReasonAccountNotLinked, user: *t.byEmail} // O7, W6
}

func (t attempt) create(user User) decision {
	user.ID = t.newUserID
	user.Email = lower(user.Email)
	d := decision{user: FoundUser{User: user, Subject: record.NewKey()}, isNew: true, created: true}
	d.writes = append(d.writes, CreateUser{User: user, Subject: d.user.Subject})
	return d
}

// meet gives a user whom the book has not met a subject key.
func (d *decision) meet() {
	if d.user.Subject.IsZero() {
		d.user.Subject, d.met = record.NewKey(), true
	}
}

func (d *decision) link(t attempt) {
	acc := t.account
	acc.UserID = d.user.User.ID
	acc.Reply = Claims{}
	d.linked = true
	d.writes = append(d.writes, LinkAccount{Account: acc})
	if t.passkey != nil {
		d.passkey = t.passkey.clone()
		d.passkey.UserID, d.passkey.ProviderAccountID = acc.UserID, acc.ProviderAccountID
		d.writes = append(d.writes, CreateAuthenticator{Authenticator: *d.passkey})
	}
}
