package gatebook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

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
	if reason, err := x.unfit(ctx, &u); reason != "" || err != nil {
		x.out[at] = Imported{Refused: reason}
		return err
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

// unfit says what of a user the store cannot hold; empty when it can hold all.
// Tokens that it cannot hold are left out and no question.
func (x *importing) unfit(ctx context.Context, u *ImportUser) (string, error) {
	checker, _ := x.t.a.adapter.(WriteChecker)
	check := func(w Write) error {
		if checker == nil {
			return nil
		}
		return checker.CheckWrite(ctx, w)
	}
	if err := check(CreateUser{User: u.User}); err != nil {
		return unfitReason(err)
	}
	for _, acc := range u.Accounts {
		kept, _, err := x.t.a.fit(&acc)
		if err != nil {
			return err.Error(), nil //nolint:nilerr // it is the refusal
		}
		if err := check(LinkAccount{Account: kept}); err != nil {
			return unfitReason(err)
		}
	}
	return "", nil
}

// reasonOf parts what a user is refused for from an error of the store.
func unfitReason(err error) (string, error) {
	if errors.Is(err, ErrUnfit) {
		return strings.TrimPrefix(err.Error(), ErrUnfit.Error()+": "), nil
	}
	return "", err
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
	var c change
	ids := make([]string, len(users))
	for i, p := range users {
		if p.User.ID == "" { // of this try alone: on a conflict the user is looked for without it
			id, err := x.t.a.newUserID(ctx, &p.User, nil)
			if err != nil {
				return err
			}
			p.User.ID = id
		}
		ids[i] = p.User.ID
		one, err := x.act(ctx, p.ImportUser)
		if err != nil {
			return err
		}
		c.add(one)
	}
	entries, err := x.t.a.entries(ctx, c.events)
	if err != nil {
		return err
	}
	if err := x.t.a.commit(ctx, &Act{Writes: c.writes, Entries: entries}); err != nil {
		return err
	}
	for i, p := range users {
		x.out[p.at] = Imported{UserID: ids[i]}
	}
	return nil
}

// act returns what makes one user, and what tells of it.
func (x *importing) act(ctx context.Context, u ImportUser) (c change, err error) {
	r, actor, err := x.t.recorder(ctx)
	if err != nil {
		return c, err
	}
	k := keys{subject: record.NewKey(), actor: actor}
	created := &CreateUserEvent{Envelope: r.envelope(record.TypeCreateUser), User: &u.User}
	created.Subject = u.User.ID
	c.does(created, k, CreateUser{User: u.User, Subject: k.subject})
	for _, acc := range u.Accounts {
		acc.UserID = u.User.ID
		kept, omitted, err := x.t.a.fit(&acc)
		if err != nil {
			return c, err
		}
		r.auth = AuthInfo{Provider: acc.Provider, Method: acc.Type}
		linked := &LinkAccountEvent{Envelope: r.envelope(record.TypeLinkAccount), User: &u.User, Account: &acc}
		linked.Subject = u.User.ID
		c.does(linked, k, LinkAccount{Account: kept})
		if len(omitted) > 0 {
			c.does(r.tokensOmitted(&u.User, &acc, omitted), k)
		}
	}
	return c, nil
}

// metImport looks whether the user is there, and says so; isNew says that
// nothing of them is. Before it refuses a user it looks again: somebody else may
// have been importing them meanwhile, so that half of them was seen.
func (a *Auth) metImport(ctx context.Context, u *ImportUser) (result Imported, isNew bool, err error) {
	result, isNew, err = a.lookImport(ctx, u)
	if err == nil && result.Refused != "" {
		return a.lookImport(ctx, u)
	}
	return result, isNew, err
}

func (a *Auth) lookImport(ctx context.Context, u *ImportUser) (result Imported, isNew bool, err error) {
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
		f, err := a.find(ctx, q)
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
