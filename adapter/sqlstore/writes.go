package sqlstore

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
)

// change is one statement of a write. It is said once for both ways of carrying
// it out: alone in a transaction, or as a part of one statement for the act.
type change struct {
	verb  string // insert, update, delete, or lock, which only looks at a row
	table *table

	columns string // of an insert; the assignments of an update
	values  string // of an insert
	over    string // goes before the values: OVERRIDING SYSTEM VALUE
	user    bool   // the values are taken from the row u of the user ?1, which must be there
	from    string // the values are taken from this row
	where   string
	then    string // what an insert does when the row is there

	must  bool // it has to touch a row
	apart bool // it sees what was written before, and so is no part of one statement
	free  bool // a lock that is none: it only looks

	alone  *query // in a transaction
	row    *query // goes before alone where an update does not count the rows it finds
	number uint32 // tells it from other changes; 0 when it is used once
}

// changes are those of a store.
type changes struct {
	lockUser, verifyUser, deleteUser               *change
	deleteAccounts, deleteSessions, deletePasskeys *change
	deleteNotes, forgetTokens                      *change
	subjectOfNew, addSubject                       *change
	linkAccount, unlinkAccount                     *change
	createSession, noteSession, adoptSession       *change
	deleteSession, forgetSession                   *change
	knowToken, noteToken, revokeToken              *change
	createPasskey, countPasskey, deletePasskey     *change
	createLink, useLink, useCheck                  *change
}

// compile writes the statements of c for a transaction. A number is given to what
// is kept.
func (q *queries) compile(c *change) *change {
	d := q.d
	var s string
	lock := ""
	switch c.verb {
	case "insert":
		s = "INSERT INTO " + c.table.q() + " (" + c.columns + ") " + c.over
		switch {
		case c.user:
			s += "SELECT " + c.values + " FROM " + q.t.user.q() + " u WHERE " + d.is(q.t.id, "u", "?1") + d.ForShare
		case c.from != "":
			s += "SELECT " + c.values + " FROM " + c.from + " WHERE " + c.where
		default:
			s += "VALUES (" + c.values + ")"
		}
		s += " " + c.then
	case "update":
		s = "UPDATE " + c.table.q() + " SET " + c.columns + " WHERE " + c.where
		lock = "SELECT 1 FROM " + c.table.q() + " WHERE " + c.where + d.ForUpdate
	case "delete":
		s = "DELETE FROM " + c.table.q() + " WHERE " + c.where
	case "lock":
		s = "SELECT 1 FROM " + c.table.q() + " WHERE " + c.where
		if !c.free {
			s += d.ForUpdate
		}
	}
	c.alone = d.query(s)
	if lock != "" && c.must && !d.counts() {
		c.row = d.query(lock)
	}
	return c
}

func (q *queries) kept(c *change) *change {
	c.number = q.number.Add(1)
	return q.compile(c)
}

// insert is a change that inserts a row with these columns, ?1 and on, and then
// what only this table wants to be given; see [queries.filled].
func (q *queries) insert(t *table, user bool, columns ...string) *change {
	c := &change{verb: "insert", table: t, user: user, must: true}
	var values []string
	for i, name := range columns {
		v := q.d.typed(t.col(name), "?"+strconv.Itoa(i+1))
		if user && i == 0 {
			v = q.t.id.in("u")
			if t.col(name).form == textForm {
				v = q.d.text(q.t.id, v)
			}
		}
		values = append(values, v)
	}
	for _, f := range q.fills(t) {
		columns = append(columns, f.name)
		values = append(values, q.d.typed(f, "?"+strconv.Itoa(len(values)+1)))
	}
	c.columns, c.values = quoteAll(columns), strings.Join(values, ", ")
	return c
}

// fills are the columns of a table that Auth.js's model does not have and an
// insert must give.
func (q *queries) fills(t *table) []*column {
	var out []*column
	for _, which := range []int{userTable, accountTable, sessionTable, linkTable, passkeyTable} {
		if q.table(which) != t {
			continue
		}
		s := q.l.spec(which)
		for _, c := range t.columns {
			if _, known := s.columns[c.name]; !known && c.needed && q.l.fills(which, c) && !(which == userTable && slices.Contains(q.l.extra(), c.name)) {
				out = append(out, c)
			}
		}
	}
	return out
}

func (q *queries) table(which int) *table {
	return [5]*table{q.t.user, q.t.account, q.t.session, q.t.link, q.t.passkey}[which]
}

// writes writes the statements that write.
func (q *queries) writes() {
	d, t := q.d, q.t
	u := t.user
	is := func(t *table, column, argument string) string { return d.is(t.col(column), "", argument) }
	q.lockUser = q.kept(&change{verb: "lock", table: u, where: d.is(t.id, "", "?1"), must: true})
	if t.verified != nil {
		q.verifyUser = q.kept(&change{verb: "update", table: u, must: true,
			columns: t.verified.q() + " = " + d.typed(t.verified, "?2"), where: d.is(t.id, "", "?1")})
	}
	q.deleteUser = q.kept(&change{verb: "delete", table: u, where: d.is(t.id, "", "?1"), must: true})
	gone := func(t *table, column string) *change {
		return q.kept(&change{verb: "delete", table: t, where: is(t, column, "?1"), apart: true})
	}
	q.deleteAccounts, q.deleteSessions = gone(t.account, "userId"), gone(t.session, "userId")
	q.deleteNotes = gone(t.notes, "user_id")
	q.forgetTokens = q.kept(&change{verb: "update", table: t.tokens, apart: true,
		columns: `"revoked" = 1, "user_id" = '', "user_agent" = '', "provider" = '', "begun" = 0`, where: is(t.tokens, "user_id", "?1")})

	q.subjectOfNew = q.kept(q.insert(t.subjects, false, "user_id", "key"))
	// The user is looked for in the insert itself, and not left to a foreign key:
	// tables that another program made may have none.
	q.addSubject = q.kept(q.insert(t.subjects, true, "user_id", "key"))
	q.linkAccount = q.kept(q.insert(t.account, true, "userId", "type", "provider", "providerAccountId", "refresh_token",
		"access_token", "expires_at", "token_type", "scope", "id_token", "session_state"))
	q.unlinkAccount = q.kept(&change{verb: "delete", table: t.account, must: true,
		where: is(t.account, "provider", "?1") + " AND " + is(t.account, "providerAccountId", "?2") + " AND " + is(t.account, "userId", "?3")})
	q.sessionWrites()
	if p := t.passkey; p != nil {
		q.deletePasskeys = gone(p, "userId")
		q.createPasskey = q.kept(q.insert(p, true, "userId", "credentialID", "providerAccountId", "credentialPublicKey",
			"counter", "credentialDeviceType", "credentialBackedUp", "transports"))
		q.countPasskey = q.kept(&change{verb: "update", table: p, must: true,
			columns: `"counter" = ` + d.typed(p.col("counter"), "?3") + `, "credentialBackedUp" = ` + d.typed(p.col("credentialBackedUp"), "?4"),
			where:   is(p, "credentialID", "?1") + ` AND "counter" = ` + d.typed(p.col("counter"), "?2")})
		q.deletePasskey = q.kept(&change{verb: "delete", table: p, must: true,
			where: is(p, "credentialID", "?1") + " AND " + is(p, "userId", "?2")})
	}
	if l := t.link; l != nil {
		q.createLink = q.kept(q.insert(l, false, "identifier", "token", "expires"))
		q.useLink = q.kept(&change{verb: "delete", table: l, must: true, where: is(l, "identifier", "?1") + " AND " + is(l, "token", "?2")})
	}
	q.useCheck = q.kept(q.insert(t.checks, false, "digest", "expires"))
}

// sessionWrites writes those of sessions and of token sessions.
func (q *queries) sessionWrites() {
	d, t := q.d, q.t
	token := t.session.col("sessionToken")
	q.createSession = q.kept(q.insert(t.session, true, "userId", "sessionToken", "expires"))
	// Replaced, because another program may have deleted a session of that token
	// and left this row.
	note := q.insert(t.notes, false, "digest", "sid", "user_id", "begun", "provider", "user_agent")
	note.must, note.then = false, d.upsert(`"digest"`, `"sid"`, `"user_id"`, `"begun"`, `"provider"`, `"user_agent"`)
	q.noteSession = q.kept(note)
	adopt := q.insert(t.notes, false, "digest", "sid", "user_id", "begun", "provider", "user_agent")
	adopt.from, adopt.where = t.session.q()+" s", d.is(token, "s", "?7")+d.ForShare
	q.adoptSession = q.kept(adopt)
	q.deleteSession = q.kept(&change{verb: "delete", table: t.session, where: d.is(token, "", "?1"), must: true})
	q.forgetSession = q.kept(&change{verb: "delete", table: t.notes, where: d.is(t.notes.col("digest"), "", "?1")})

	k := t.tokens
	sid := d.is(k.col("sid"), "", "?1")
	columns := []string{"sid", "user_id", "begun", "expires", "provider", "user_agent", "revoked"}
	if d == mysql {
		// Where an upsert has no condition the row is made first.
		q.knowToken = q.kept(&change{verb: "insert", table: k, columns: quoteAll(columns), values: `?1, '', 0, 0, '', '', 0`,
			then: d.ignore(`"sid"`)})
		q.noteToken = q.kept(&change{verb: "update", table: k, must: true,
			columns: `"user_id" = ?2, "begun" = ?3, "expires" = ?4, "provider" = ?5, "user_agent" = ?6`, where: sid + ` AND "revoked" = 0`})
		q.revokeToken = q.kept(&change{verb: "update", table: k, must: true,
			columns: `"revoked" = 1, "user_id" = '', "begun" = 0, "provider" = '', "user_agent" = '', "expires" = greatest("expires", ?2)`,
			where:   sid + ` AND "revoked" = 0`})
		return
	}
	q.noteToken = q.insert(k, false, columns[:6]...)
	q.noteToken.columns, q.noteToken.values = quoteAll(columns), q.noteToken.values+", 0"
	q.noteToken.then = d.upsert(`"sid"`, `"user_id"`, `"begun"`, `"expires"`, `"provider"`, `"user_agent"`) + ` WHERE gatebook_tokens."revoked" = 0`
	q.kept(q.noteToken)
	// Of a session that was noted the later expiry stays: its token may live as
	// long as the note said.
	q.revokeToken = q.kept(&change{verb: "insert", table: k, must: true, columns: quoteAll(columns),
		values: d.typed(k.col("sid"), "?1") + `, '', 0, ` + d.typed(k.col("expires"), "?2") + `, '', '', 1`,
		then: d.upsert(`"sid"`, `"revoked"`, `"user_id"`, `"begun"`, `"provider"`, `"user_agent"`) +
			`, "expires" = ` + d.Greatest(`gatebook_tokens."expires"`, `excluded."expires"`) + ` WHERE gatebook_tokens."revoked" = 0`})
}

// step is a change with its arguments.
type step struct {
	*change
	args   []any
	user   string // whose row it needs, makes or changes
	key    string // tells the row that it touches from others of the table
	handle string // its last argument is the raw token of that session, to be found in the transaction
}

// values collects the arguments of a step, and what is wrong with them.
type values struct {
	q    *queries
	list []any
	none bool // no row can have that key
	err  error
}

// text adds a text that column c is to hold.
func (v *values) text(c *column, s string) {
	switch {
	case !v.q.d.holds(s):
		v.refuse(fmt.Errorf("column %q of table %q cannot hold the value: it is not UTF-8 or has a NUL byte", c.name, c.table))
	case !c.fits(s):
		v.refuse(fmt.Errorf("column %q of table %q is of type %s and cannot hold the whole value", c.name, c.table, cmp.Or(c.full, c.kind)))
	}
	v.list = append(v.list, s)
}

func (v *values) refuse(err error) {
	if v.err == nil {
		v.err = err
	}
}

// optional is text for a column where an empty one is null, if that may be.
func (v *values) optional(c *column, s string) {
	if s == "" && !c.never {
		v.list = append(v.list, nil)
		return
	}
	v.text(c, s)
}

// address is optional for an e-mail address: two users without one would have the
// same empty text.
func (v *values) address(c *column, s string) {
	if s == "" && c.never {
		v.refuse(fmt.Errorf("column %q of table %q cannot be null, and the user has no e-mail address", c.name, c.table))
	}
	v.optional(c, s)
}

// key adds a text to look for.
func (v *values) key(s string) {
	v.none = v.none || !v.q.d.holds(s)
	v.list = append(v.list, s)
}

// id adds the id of a user who must be there.
func (v *values) id(s string) {
	id, ok := v.q.id(s)
	v.none = v.none || !ok
	v.list = append(v.list, id)
}

// time adds a time that column c is to hold.
func (v *values) time(c *column, t time.Time) {
	if !c.reaches(t) {
		v.refuse(fmt.Errorf("column %q of table %q is of type %s, which cannot hold the time %s",
			c.name, c.table, c.kind, t.UTC().Format(time.RFC3339)))
	}
	v.list = append(v.list, c.stamp(t))
}

func (v *values) optionalTime(c *column, t time.Time) {
	if t.IsZero() {
		v.list = append(v.list, nil)
		return
	}
	v.time(c, t)
}

func (v *values) add(values ...any) { v.list = append(v.list, values...) }

// fill adds what only this table wants to be given.
func (v *values) fill(t *table) {
	for _, c := range v.q.fills(t) {
		if c.name == "id" {
			v.add(newUUID())
		} else {
			v.time(c, time.Now())
		}
	}
}

// id returns the id of a user as the database has it, or false when none can be
// that.
func (q *queries) id(s string) (any, bool) {
	switch {
	case q.l.ids == Integer:
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil && strconv.FormatInt(n, 10) == s
	case q.t.id.kind == "uuid":
		return s, isUUID(s)
	}
	// A text may have UUIDs in any form.
	return s, q.d.holds(s) && q.t.id.fits(s)
}

// steps appends what carries out w.
func (q *queries) steps(to []step, w gatebook.Write) ([]step, error) {
	v := &values{q: q}
	switch w := w.(type) {
	case gatebook.CreateUser:
		to = q.createUser(to, v, &w)
	case gatebook.UpdateUser:
		to = q.updateUser(to, v, &w)
	case gatebook.DeleteUser:
		v.id(w.ID)
		// In this order, so that nothing refers to what is gone where foreign keys do
		// not cascade. The row is locked first, so that nothing is added meanwhile.
		for _, c := range []*change{q.lockUser, q.deleteAccounts, q.deleteSessions, q.deletePasskeys, q.deleteNotes, q.forgetTokens, q.deleteUser} {
			switch c {
			case nil:
			case q.deleteNotes, q.forgetTokens:
				to = append(to, step{change: c, args: []any{w.ID}})
			default:
				to = append(to, step{change: c, args: v.list, user: w.ID})
			}
		}
	case gatebook.AddSubject:
		if w.Subject.IsZero() {
			return nil, errors.New("subject key is zero")
		}
		v.id(w.UserID)
		v.add(w.Subject[:])
		to = append(to, step{change: q.addSubject, args: v.list, user: w.UserID, key: w.UserID})
	case gatebook.LinkAccount:
		q.account(v, &w.Account)
		to = append(to, step{change: q.linkAccount, args: v.list, user: w.Account.UserID, key: w.Account.Provider + "\x00" + w.Account.ProviderAccountID})
	case gatebook.UnlinkAccount:
		v.key(w.Provider)
		v.key(w.ProviderAccountID)
		v.id(w.UserID)
		to = append(to, step{change: q.unlinkAccount, args: v.list, key: w.Provider + "\x00" + w.ProviderAccountID})
	case gatebook.KeepAccount:
		if len(w.Providers) == 0 {
			return nil, gatebook.ErrConflict
		}
		v.id(w.UserID)
		lock := step{change: q.lockUser, args: slices.Clone(v.list), user: w.UserID}
		for _, p := range w.Providers {
			v.key(p)
		}
		to = append(to, lock, q.keepAccount(v.list))
	case gatebook.CreateSession:
		if w.Session.Token == "" {
			return nil, errors.New("session token is empty")
		}
		to = q.newSession(to, v, &w.Session)
	case gatebook.AdoptSession:
		to = append(to, q.adopt(v, &w.Session))
	case gatebook.DeleteSession:
		v.key(w.Handle)
		s := step{change: q.deleteSession, args: v.list, key: q.digestOf(w.Handle)}
		if q.l.raw {
			s.handle = w.Handle
		}
		to = append(to, s, step{change: q.forgetSession, args: []any{q.digestOf(w.Handle)}, key: q.digestOf(w.Handle)})
	case gatebook.NoteSession:
		s := &w.Session
		to = q.know(to, s.ID)
		k := q.t.tokens
		v.text(k.col("sid"), s.ID)
		v.text(k.col("user_id"), s.UserID)
		v.add(s.Begun.UnixMilli(), s.Expires.UnixMilli())
		v.text(k.col("provider"), s.Provider)
		v.text(k.col("user_agent"), s.UserAgent)
		to = append(to, step{change: q.noteToken, args: v.list, key: s.ID})
	case gatebook.RevokeToken:
		to = q.know(to, w.ID)
		v.text(q.t.tokens.col("sid"), w.ID)
		v.add(w.Expires.UnixMilli())
		to = append(to, step{change: q.revokeToken, args: v.list, key: w.ID})
	case gatebook.CreateAuthenticator, gatebook.CountAuthenticator, gatebook.DeleteAuthenticator:
		if q.t.passkey == nil {
			return nil, fmt.Errorf("passkeys: %w: %w", errNoTable, errors.ErrUnsupported)
		}
		to = append(to, q.passkey(v, w))
	case gatebook.CreateVerificationToken, gatebook.UseVerificationToken:
		if q.t.link == nil {
			return nil, fmt.Errorf("magic links: %w: %w", errNoTable, errors.ErrUnsupported)
		}
		to = append(to, q.verification(v, w))
	case gatebook.UseCheck:
		v.add(w.Digest[:], w.Expires.UnixMilli())
		to = append(to, step{change: q.useCheck, args: v.list, key: string(w.Digest[:])})
	default:
		return nil, fmt.Errorf("unknown write: %w", errors.ErrUnsupported)
	}
	switch {
	case v.none: // whatever else is wrong, there is no such row
		return nil, gatebook.ErrConflict
	case v.err != nil:
		return nil, fmt.Errorf("%w: %w", gatebook.ErrUnfit, v.err)
	}
	return to, nil
}

func (q *queries) createUser(to []step, v *values, w *gatebook.CreateUser) []step {
	t, u := q.t, &w.User
	id, ok := q.id(u.ID)
	ok = ok && (q.l.ids != UUID || isUUID(u.ID))
	switch {
	case !ok && q.l.ids == Text && t.id.kind != "uuid":
		v.text(t.id, u.ID) // says why
	case !ok:
		want := q.l.ids
		if want == Text {
			want = UUID
		}
		v.refuse(fmt.Errorf("the id %.100q of a new user is no %s, as Users.IDType wants", u.ID, want))
	}
	v.list = []any{id}
	columns := []string{t.id.name}
	for _, f := range []struct {
		c *column
		s string
	}{{t.name, u.Name}, {t.email, u.Email}, {t.image, u.Image}} {
		switch {
		case f.c == nil:
			continue
		case f.c == t.email:
			v.address(f.c, f.s)
		default:
			v.optional(f.c, f.s)
		}
		columns = append(columns, f.c.name)
	}
	if t.verified != nil {
		columns = append(columns, t.verified.name)
		v.optionalTime(t.verified, u.EmailVerified)
	}
	for _, name := range slices.Sorted(maps.Keys(u.Extra)) {
		c, err := q.extra(name)
		if err != nil {
			v.refuse(err)
			return to
		}
		columns = append(columns, name)
		v.extra(c, u.Extra[name])
	}
	v.fill(t.user)
	to = append(to, step{change: q.userChange("insert", columns), args: v.list, user: u.ID, key: u.ID})
	if !w.Subject.IsZero() {
		// The key of a deleted user stays, so that its id is free again only when
		// the person has been erased.
		s := &values{q: q}
		s.text(t.subjects.col("user_id"), u.ID)
		s.add(w.Subject[:])
		v.refuse(s.err)
		to = append(to, step{change: q.subjectOfNew, args: s.list, key: u.ID})
	}
	return to
}

// extra returns a further column of the user table.
func (q *queries) extra(name string) (*column, error) {
	for _, c := range q.t.extra {
		if c.name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("Users.Extra of the layout has no column %q of the user table", name)
}

// extra adds the value of a further column.
func (v *values) extra(c *column, value any) {
	if s, ok := value.(string); ok {
		v.text(c, s)
		return
	}
	v.add(value)
}

// userChange returns the change of these columns of a user; the first is the id.
func (q *queries) userChange(verb string, columns []string) *change {
	key := verb + "\x00" + strings.Join(columns, "\x00")
	if c, ok := q.few.Load(key); ok {
		return c.(*change)
	}
	t := q.t
	var c *change
	if verb == "insert" {
		c = q.insert(t.user, false, columns...)
		if t.id.always {
			c.over = "OVERRIDING SYSTEM VALUE "
		}
	} else {
		set := make([]string, len(columns)-1)
		for i, name := range columns[1:] {
			set[i] = `"` + name + `" = ` + q.d.typed(t.user.col(name), "?"+strconv.Itoa(i+2))
		}
		c = &change{verb: "update", table: t.user, must: true, columns: strings.Join(set, ", "), where: q.d.is(t.id, "", "?1")}
	}
	// Which columns there are together is up to the application, and so not bounded
	// by anything of ours.
	if q.number.Load() > maxChanges {
		return q.compile(c)
	}
	kept, _ := q.few.LoadOrStore(key, q.kept(c))
	return kept.(*change)
}

// maxChanges is how many changes are kept.
const maxChanges = 200

func (q *queries) updateUser(to []step, v *values, w *gatebook.UpdateUser) []step {
	t, u := q.t, &w.User
	v.id(u.ID)
	columns := []string{t.id.name}
	for _, field := range w.Fields {
		var c *column
		switch field {
		case "name":
			if c = t.name; c != nil {
				v.optional(c, u.Name)
			}
		case "email":
			if c = t.email; c != nil {
				v.address(c, u.Email)
			}
		case "emailVerified":
			if c = t.verified; c != nil {
				v.optionalTime(c, u.EmailVerified)
			}
		case "image":
			if c = t.image; c != nil {
				v.optional(c, u.Image)
			}
		default:
			var err error
			value, ok := u.Extra[field]
			if c, err = q.extra(field); err == nil && !ok {
				err = fmt.Errorf("field %q is not in the user's Extra", field)
			}
			if err != nil {
				v.refuse(err)
				return to
			}
			v.extra(c, value)
		}
		if c != nil {
			columns = append(columns, c.name)
		}
	}
	s := step{args: v.list, user: u.ID, key: u.ID}
	switch {
	case len(columns) == 1:
		s.change = q.lockUser
	case len(columns) == 2 && t.verified != nil && columns[1] == t.verified.name: // as each magic link does
		s.change = q.verifyUser
	default:
		s.change = q.userChange("update", columns)
	}
	return append(to, s)
}

func (q *queries) account(v *values, a *gatebook.Account) {
	t := q.t.account
	v.id(a.UserID)
	v.text(t.col("type"), a.Type)
	v.text(t.col("provider"), a.Provider)
	v.text(t.col("providerAccountId"), a.ProviderAccountID)
	v.optional(t.col("refresh_token"), string(a.RefreshToken))
	v.optional(t.col("access_token"), string(a.AccessToken))
	if a.ExpiresAt != 0 {
		v.number(t.col("expires_at"), a.ExpiresAt)
	} else {
		v.add(nil)
	}
	v.optional(t.col("token_type"), a.TokenType)
	v.optional(t.col("scope"), a.Scope)
	v.optional(t.col("id_token"), string(a.IDToken))
	v.optional(t.col("session_state"), a.SessionState)
	v.fill(t)
}

// Unfit implements [gatebook.AccountLimiter].
func (s *Store) Unfit(a *gatebook.Account) []string {
	q := s.queries.Load()
	if q == nil {
		return nil // it has answered nothing yet
	}
	var out []string
	for _, f := range []struct{ name, value string }{
		{"access_token", string(a.AccessToken)}, {"refresh_token", string(a.RefreshToken)}, {"id_token", string(a.IDToken)},
		{"token_type", a.TokenType}, {"scope", a.Scope}, {"session_state", a.SessionState},
	} {
		if c := q.t.account.col(f.name); !c.fits(f.value) || !q.d.holds(f.value) {
			out = append(out, f.name)
		}
	}
	if !q.t.account.col("expires_at").counts(a.ExpiresAt) {
		out = append(out, "expires_at")
	}
	return out
}

// keepAccount looks for an account at one of the providers. It comes after a lock of
// the user's row: where acts run side by side, neither would see what the other
// is about to delete.
// The arguments are the user's id and the providers.
func (q *queries) keepAccount(args []any) step {
	d, a := q.d, q.t.account
	in := make([]string, len(args)-1)
	for i := range in {
		in[i] = d.is(a.col("provider"), "", "?"+strconv.Itoa(i+2))
	}
	where := d.is(a.col("userId"), "", "?1") + " AND (" + strings.Join(in, " OR ") + `) AND ("type" <> 'webauthn'`
	if p := q.t.passkey; p != nil {
		where += ` OR EXISTS (SELECT 1 FROM ` + p.q() + ` p WHERE p."userId" = ` + a.q() + `."userId" AND p."providerAccountId" = ` +
			a.q() + `."providerAccountId")`
	}
	c := &change{verb: "lock", free: true, table: a, where: where + ")", must: true, apart: true}
	return step{change: q.compile(c), args: args}
}

func (q *queries) newSession(to []step, v *values, row *gatebook.StoredSession) []step {
	token := q.t.session.col("sessionToken")
	key, sum, _ := q.key(row.Token)
	v.id(row.UserID)
	v.text(token, key)
	v.time(q.t.session.col("expires"), row.Expires)
	v.fill(q.t.session)
	to = append(to, step{change: q.createSession, args: v.list, user: row.UserID, key: sum})
	if row.ID == "" { // as a session that another program began, which may be adopted
		return to
	}
	n := &values{q: q}
	q.note(n, sum, row)
	v.refuse(n.err)
	return append(to, step{change: q.noteSession, args: n.list, key: sum})
}

// note adds what Gatebook keeps of a session.
func (q *queries) note(v *values, sum string, row *gatebook.StoredSession) {
	t := q.t.notes
	begun := int64(0)
	if !row.Begun.IsZero() {
		begun = row.Begun.UnixMilli()
	}
	v.add(sum)
	v.text(t.col("sid"), row.ID)
	v.text(t.col("user_id"), row.UserID)
	v.add(begun)
	v.text(t.col("provider"), row.Provider)
	v.text(t.col("user_agent"), row.UserAgent)
}

func (q *queries) adopt(v *values, row *gatebook.StoredSession) step {
	sum := q.digestOf(row.Handle)
	q.note(v, sum, row)
	v.key(row.Handle)
	s := step{change: q.adoptSession, args: v.list, key: sum}
	if q.l.raw {
		s.handle = row.Handle
	}
	return s
}

// know makes the row of a token session where that goes first.
func (q *queries) know(to []step, sid string) []step {
	if q.knowToken == nil {
		return to
	}
	return append(to, step{change: q.knowToken, args: []any{sid}, key: sid})
}

func (q *queries) passkey(v *values, w gatebook.Write) step {
	p := q.t.passkey
	switch w := w.(type) {
	case gatebook.CreateAuthenticator:
		a := &w.Authenticator
		v.id(a.UserID)
		v.text(p.col("credentialID"), a.CredentialID)
		v.text(p.col("providerAccountId"), a.ProviderAccountID)
		v.text(p.col("credentialPublicKey"), base64.StdEncoding.EncodeToString(a.PublicKey))
		v.number(p.col("counter"), int64(a.Counter))
		v.text(p.col("credentialDeviceType"), a.DeviceType)
		v.truth(p.col("credentialBackedUp"), a.BackedUp)
		v.optional(p.col("transports"), strings.Join(a.Transports, ","))
		v.fill(p)
		return step{change: q.createPasskey, args: v.list, user: a.UserID, key: a.CredentialID}
	case gatebook.CountAuthenticator:
		v.key(w.CredentialID)
		v.add(int64(w.From))
		v.number(p.col("counter"), int64(w.To))
		v.truth(p.col("credentialBackedUp"), w.BackedUp)
		return step{change: q.countPasskey, args: v.list, key: w.CredentialID}
	default:
		gone := w.(gatebook.DeleteAuthenticator)
		v.key(gone.CredentialID)
		v.id(gone.UserID)
		return step{change: q.deletePasskey, args: v.list, key: gone.CredentialID}
	}
}

// number adds a number that column c is to hold.
func (v *values) number(c *column, n int64) {
	if !c.counts(n) {
		v.refuse(fmt.Errorf("column %q of table %q is of type %s, which cannot hold %d", c.name, c.table, c.kind, n))
	}
	v.add(n)
}

// truth adds a truth value.
func (v *values) truth(c *column, b bool) {
	if c.form != numberForm {
		v.add(b)
		return
	}
	n := int64(0)
	if b {
		n = 1
	}
	v.add(n)
}

func (q *queries) verification(v *values, w gatebook.Write) step {
	l := q.t.link
	if made, ok := w.(gatebook.CreateVerificationToken); ok {
		v.text(l.col("identifier"), made.Token.Identifier)
		v.text(l.col("token"), made.Token.Hash)
		v.time(l.col("expires"), made.Token.Expires)
		v.fill(l)
		return step{change: q.createLink, args: v.list, key: made.Token.Identifier + "\x00" + made.Token.Hash}
	}
	used := w.(gatebook.UseVerificationToken)
	v.key(used.Identifier)
	v.key(used.Hash)
	return step{change: q.useLink, args: v.list, key: used.Identifier + "\x00" + used.Hash}
}
