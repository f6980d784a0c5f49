package gatebook

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook/record"
)

// ImportUser is a user as another system had them.
type ImportUser struct {
	// User is the user. An ID is kept, so that what refers to it still does;
	// without one the user gets an ID as from [Auth.CreateUser]. The address is
	// put in lower case. EmailVerified is kept.
	User User
	// Accounts are linked to the user; UserID and Reply are not looked at.
	Accounts []Account
}

// ImportOptions are the options of [Auth.Import].
type ImportOptions struct {
	// DryRun reads what is there and writes nothing.
	DryRun bool
}

// Imported says what became of an [ImportUser].
type Imported struct {
	// UserID is the user that was made or that is there already. It is empty
	// when the user was refused, and in a dry run when the ID is yet to be made.
	UserID string
	// Known says that the user was there already and nothing was written.
	Known bool
	// Refused says why the user cannot be imported; empty when that is no
	// question. It names ids, and neither addresses nor tokens.
	Refused string
}

// Most of a batch that is one commit: users, and writes.
const (
	importUsers  = 200
	importWrites = 1000
)

// Import makes users with their accounts, and records createUser and
// linkAccount for each, source import; the entries of a user are one act. It
// returns what became of each of users, in their order. Call it with a few
// hundred users at a time: they share commits.
//
// A user who is there already is left alone, so that an import can be repeated,
// also after it was killed: one with the same ID; one that has the account; for
// a user without an ID, one that has the address. A user that contradicts what is
// there is refused, and the rest goes on: the ID of a user with another address,
// the address of a user with another ID, an account of somebody else, and a known
// user who lacks an account of this one, which is not linked for that.
//
// The error is one of the store, or of ctx: what users were imported before stays.
// Handlers of [Config].Events and InTx are not called: an import is no sign-up,
// and nobody wants a welcome mail for it. Read the book, or walk the users when
// the import is done.
func (a *Auth) Import(ctx context.Context, users []ImportUser, opts *ImportOptions) ([]Imported, error) {
	t := &Transaction{a: a, source: record.SourceImport}
	if _, _, err := t.recorder(ctx); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	x := &importing{t: t, out: make([]Imported, len(users)), dry: opts != nil && opts.DryRun}
	x.begin()
	for i := range users {
		if err := x.add(ctx, i, users[i]); err != nil {
			return x.out, fmt.Errorf("import: %w", err)
		}
	}
	if err := x.flush(ctx); err != nil {
		return x.out, fmt.Errorf("import: %w", err)
	}
	return x.out, nil
}

// importing is an import under way.
type importing struct {
	t   *Transaction
	dry bool
	out []Imported

	// batch is what the next commit writes. In a dry run it only grows.
	batch  []place
	writes int
	// met has the places of the batch, by what two users must not share.
	met map[any]int
}

// place is a user at its index.
type place struct {
	at int
	ImportUser
}

type (
	importID    string
	importEmail string
)

func (x *importing) begin() {
	x.batch, x.writes, x.met = nil, 0, map[any]int{}
}

// keys are what no other user has.
func (u *ImportUser) keys() []any {
	var out []any
	if u.User.ID != "" {
		out = append(out, importID(u.User.ID))
	}
	if u.User.Email != "" {
		out = append(out, importEmail(u.User.Email))
	}
	for i := range u.Accounts {
		out = append(out, u.Accounts[i].key())
	}
	return out
}

// add puts a user into the batch, unless it is known or refused.
func (x *importing) add(ctx context.Context, at int, u ImportUser) error {
	u = u.normal()
	if reason := u.wrong(); reason != "" {
		x.out[at] = Imported{Refused: reason}
		return nil
	}
	for _, k := range u.keys() {
		if _, twice := x.met[k]; !twice {
			continue
		}
		if x.dry {
			x.out[at] = x.meet(&u)
			return nil
		}
		// Who came first is there when this one is looked at.
		if err := x.flush(ctx); err != nil {
			return err
		}
		break
	}
	result, isNew, err := x.t.a.metImport(ctx, &u)
	if err != nil || !isNew {
		x.out[at] = result
		return err
	}
	for _, k := range u.keys() {
		x.met[k] = at
	}
	if x.dry {
		x.out[at] = Imported{UserID: u.User.ID}
		return nil
	}
	x.batch = append(x.batch, place{at, u})
	x.writes += 1 + len(u.Accounts)
	if len(x.batch) >= importUsers || x.writes >= importWrites {
		return x.flush(ctx)
	}
	return nil
}

// meet says what becomes of a user who shares something with one before it, in
// a dry run, which has not written that one.
func (x *importing) meet(u *ImportUser) Imported {
	for _, k := range u.keys() {
		first, ok := x.met[k]
		if _, address := k.(importEmail); !ok || address && u.User.ID != "" && x.out[first].UserID != u.User.ID {
			continue
		}
		return Imported{UserID: x.out[first].UserID, Known: true}
	}
	return Imported{Refused: "its address is that of another user of this import"}
}

// flush commits the batch. When that conflicts, something in it is no longer as
// it was read: then each user is committed alone, and read anew.
func (x *importing) flush(ctx context.Context) error {
	batch := x.batch
	x.begin()
	if len(batch) == 0 || x.dry {
		return nil
	}
	err := x.commit(ctx, batch)
	if !isConflict(err) {
		return err
	}
	for _, p := range batch {
		if err := x.alone(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// alone commits one user.
func (x *importing) alone(ctx context.Context, p place) error {
	err := retry(func() error {
		result, isNew, err := x.t.a.metImport(ctx, &p.ImportUser)
		if err != nil || !isNew {
			x.out[p.at] = result
			return err
		}
		return x.commit(ctx, []place{p})
	})
	if isConflict(err) {
		x.out[p.at] = Imported{Refused: "the store refuses it, though nothing with its id, address or accounts is there"}
		return nil
	}
	return err
}

// commit writes users in one transaction.
func (x *importing) commit(ctx context.Context, users []place) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	act := &Act{}
	ids := make([]string, len(users))
	for i, p := range users {
		if p.User.ID == "" { // of this try alone: on a conflict the user is looked for without it
			p.User.ID = uuid.NewString()
		}
		ids[i] = p.User.ID
		writes, events, err := x.act(ctx, p.ImportUser)
		if err != nil {
			return err
		}
		entries, err := x.t.a.entries(ctx, events)
		if err != nil {
			return err
		}
		act.Writes = append(act.Writes, writes...)
		act.Entries = append(act.Entries, entries...)
	}
	if err := x.t.a.commit(ctx, act); err != nil {
		return err
	}
	for i, p := range users {
		x.out[p.at] = Imported{UserID: ids[i]}
	}
	return nil
}

// act returns what makes one user, and what tells of it.
func (x *importing) act(ctx context.Context, u ImportUser) ([]Write, []told, error) {
	r, actor, err := x.t.recorder(ctx)
	if err != nil {
		return nil, nil, err
	}
	keys := keys{subject: record.NewKey(), actor: actor}
	created := &CreateUserEvent{Envelope: r.envelope(record.TypeCreateUser), User: &u.User}
	created.Subject = u.User.ID
	writes := []Write{CreateUser{User: u.User, Subject: keys.subject}}
	events := []told{{created, keys}}
	for _, acc := range u.Accounts {
		acc.UserID = u.User.ID
		r.auth = AuthInfo{Provider: acc.Provider, Method: acc.Type}
		linked := &LinkAccountEvent{Envelope: r.envelope(record.TypeLinkAccount), User: &u.User, Account: &acc}
		linked.Subject = u.User.ID
		writes = append(writes, LinkAccount{Account: acc})
		events = append(events, told{linked, keys})
	}
	return writes, events, nil
}

// metImport looks whether the user is there, and says so; isNew says that
// nothing of them is.
func (a *Auth) metImport(ctx context.Context, u *ImportUser) (result Imported, isNew bool, err error) {
	q := Query{UserID: u.User.ID, Email: u.User.Email}
	owners := make([]string, len(u.Accounts))
	var found *Found
	for i := range max(1, len(u.Accounts)) {
		if i > 0 {
			q = Query{}
		}
		if len(u.Accounts) > 0 {
			q.Account = u.Accounts[i].key()
		}
		f, err := a.adapter.Find(ctx, q)
		if err != nil {
			return Imported{}, false, fmt.Errorf("look for the user: %w", err)
		}
		if i == 0 {
			found = f
		}
		if f.ByAccount != nil {
			owners[i] = f.ByAccount.User.ID
		}
	}
	id, refused := whoIs(&u.User, found, cmp.Or(owners...))
	if id == "" {
		return Imported{Refused: refused}, refused == "", nil
	}
	for i, owner := range owners {
		switch acc := u.Accounts[i].key(); owner {
		case id:
		case "":
			return Imported{Refused: fmt.Sprintf("the user %q is there already, without its account %q at %q: if it is theirs, link it",
				id, acc.ProviderAccountID, acc.Provider)}, false, nil
		default:
			return Imported{Refused: fmt.Sprintf("its account %q at %q is that of the user %q", acc.ProviderAccountID, acc.Provider, owner)}, false, nil
		}
	}
	return Imported{UserID: id, Known: true}, false, nil
}

// whoIs returns the user that u is, or why it can be nobody; neither when u is
// new. Owner is a user who has an account of u.
func whoIs(u *User, found *Found, owner string) (id, refused string) {
	switch {
	case found.ByID != nil && u.Email != "" && found.ByID.User.Email != "" && found.ByID.User.Email != u.Email:
		return "", fmt.Sprintf("its id %q is that of a user with another address", u.ID)
	case found.ByID != nil:
		return u.ID, ""
	case owner != "":
		return owner, ""
	case found.ByEmail != nil && u.ID == "":
		return found.ByEmail.User.ID, ""
	case found.ByEmail != nil:
		return "", fmt.Sprintf("its address is that of the user %q", found.ByEmail.User.ID)
	}
	return "", ""
}

// normal returns a copy in the form in which users are stored.
func (u ImportUser) normal() ImportUser {
	out := ImportUser{User: *u.User.clone()}
	out.User.Email = record.LowerAddress(out.User.Email)
	out.User.EmailVerified = cut(out.User.EmailVerified)
	for _, acc := range u.Accounts {
		acc.UserID, acc.Reply = "", Claims{}
		out.Accounts = append(out.Accounts, acc)
	}
	return out
}

// maxImportID is the most bytes of an id: what the columns of Auth.js's tables
// for MySQL hold.
const maxImportID = 255

// wrong says what is wrong with a user by itself; empty when nothing is.
func (u *ImportUser) wrong() string {
	if u.User.ID == "" && u.User.Email == "" && len(u.Accounts) == 0 {
		return "it has neither id, email nor account, so that nobody could tell whether it is there already"
	}
	if u.User.Email == "" && !u.User.EmailVerified.IsZero() {
		return "emailVerified is set without an email"
	}
	fields := []struct {
		name, value string
		limit       int
	}{
		{"id", u.User.ID, maxImportID}, {"email", u.User.Email, maxAddress},
		{"name", u.User.Name, maxImportText}, {"image", u.User.Image, maxImportText},
	}
	for _, f := range fields {
		if why := wrongText(f.value, f.limit); why != "" {
			return f.name + " " + why
		}
	}
	if u.User.Email != "" && !isAddress(u.User.Email) {
		return "email is no e-mail address"
	}
	seen := map[AccountKey]bool{}
	for i := range u.Accounts {
		acc := &u.Accounts[i]
		if why := acc.wrong(); why != "" {
			return why
		}
		if seen[acc.key()] {
			return fmt.Sprintf("the account %q at %q is there twice", acc.ProviderAccountID, acc.Provider)
		}
		seen[acc.key()] = true
	}
	return ""
}

// maxImportText is the most bytes of a name, a picture's address or a token:
// pictures are addresses, and tokens of 64 kB have been seen.
const maxImportText = 128 << 10

func (a *Account) wrong() string {
	for _, f := range []struct {
		name, value string
		limit       int
		need        bool
	}{
		{"provider", a.Provider, maxImportID, true}, {"providerAccountId", a.ProviderAccountID, maxImportID, true},
		{"type", a.Type, maxImportID, true}, {"access_token", string(a.AccessToken), maxImportText, false},
		{"refresh_token", string(a.RefreshToken), maxImportText, false}, {"id_token", string(a.IDToken), maxImportText, false},
		{"token_type", a.TokenType, maxImportText, false}, {"scope", a.Scope, maxImportText, false},
		{"session_state", a.SessionState, maxImportText, false},
	} {
		if f.need && f.value == "" {
			return "the account has no " + f.name
		}
		if why := wrongText(f.value, f.limit); why != "" {
			return f.name + " " + why
		}
	}
	return ""
}

// wrongText says why a text cannot be stored everywhere; empty when it can.
func wrongText(s string, limit int) string {
	switch {
	case len(s) > limit:
		return fmt.Sprintf("has %d bytes, more than %d", len(s), limit)
	case !utf8.ValidString(s):
		return "is no UTF-8"
	case strings.Contains(s, "\x00"):
		return "holds a NUL byte"
	}
	return ""
}

// isAddress is wider than looksLikeAddress: what another system has mailed to is
// an address, and only what no mail system takes for one is none.
func isAddress(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && at < len(s)-1 && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}
