package gatebook_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

func githubAccount(id string) gatebook.Account {
	return gatebook.Account{Type: "oauth", Provider: "github", ProviderAccountID: id, AccessToken: "at-marker", ExpiresAt: 2592000}
}

func imports(t *testing.T, d *desk, opts *gatebook.ImportOptions, users ...gatebook.ImportUser) []gatebook.Imported {
	t.Helper()
	out, err := d.auth.Import(context.Background(), users, opts)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A user comes with all accounts in one act, is recorded, and can sign in with
// one of them; no handler hears of it.
func TestImport(t *testing.T) {
	d := newDesk(t, func(_ *desk, c *gatebook.Config) {
		c.InTx.CreateUser = func(context.Context, *sql.Tx, *gatebook.CreateUserEvent) error { return errors.New("called") }
	})
	verified := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)
	accounts := []gatebook.Account{githubAccount("1"), {Type: "oidc", Provider: "idp", ProviderAccountID: "1"}}
	out := imports(t, d, nil,
		gatebook.ImportUser{User: gatebook.User{ID: "u-7", Name: "Ada", Email: "Ada@Example.com", EmailVerified: verified, Image: "https://i.example/a"}, Accounts: accounts},
		gatebook.ImportUser{User: gatebook.User{Email: "grace@example.com"}})
	if out[0] != (gatebook.Imported{UserID: "u-7"}) || len(out[1].UserID) != 36 || out[1].Known || out[1].Refused != "" {
		t.Fatalf("Import = %+v", out)
	}
	found, err := d.store.Find(t.Context(), gatebook.Query{UserID: "u-7", Account: gatebook.AccountKey{Provider: "github", ProviderAccountID: "1"}})
	if err != nil || found.ByID == nil || found.ByAccount == nil {
		t.Fatalf("Find = %+v, %v", found, err)
	}
	want := gatebook.User{ID: "u-7", Name: "Ada", Email: "ada@example.com", EmailVerified: verified.Truncate(time.Millisecond), Image: "https://i.example/a"}
	if diff := cmp.Diff(want, found.ByID.User); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	entries := d.entries()
	if diff := cmp.Diff([]string{"createUser", "linkAccount", "linkAccount", "createUser"}, types(entries)); diff != "" {
		t.Fatalf("recorded (-want +got):\n%s", diff)
	}
	for i, e := range entries {
		h := e.Header
		if h.Source != record.SourceImport || h.ActorType != record.ActorApp || h.Initiator != "system" || h.Subject.IsZero() {
			t.Errorf("header %s", e.Raw)
		}
		if i < 3 && (h.Act != entries[0].Header.Act || h.Position != i || h.Subject != found.ByID.Subject) {
			t.Errorf("entry %d is not of the first user's act: %s", i, e.Raw)
		}
	}
	if entries[3].Header.Act == entries[0].Header.Act {
		t.Error("two users are one act")
	}
	if got := payload[record.AccountChange](t, entries[1], record.ClassIdentity); got.Account.Provider != "github" || got.User.Email != "ada@example.com" {
		t.Errorf("linkAccount of %+v", got)
	}
	if n := len(d.heard.all()); n != 0 {
		t.Errorf("handlers heard %v", d.heard.types())
	}
	if d.store.commits != 1 {
		t.Errorf("%d commits for two users, want 1", d.store.commits)
	}
}

// What is there already is left alone, and what contradicts it is refused.
func TestImportAgain(t *testing.T) {
	d := newDesk(t, nil)
	ada := gatebook.ImportUser{User: gatebook.User{ID: "ada", Email: "ada@example.com"}, Accounts: []gatebook.Account{githubAccount("1")}}
	grace := gatebook.ImportUser{User: gatebook.User{ID: "grace", Email: "grace@example.com"}}
	imports(t, d, nil, ada, grace)
	before := len(d.entries())
	for _, tt := range []struct {
		name string
		user gatebook.ImportUser
		want gatebook.Imported
	}{
		{"the same", ada, gatebook.Imported{UserID: "ada", Known: true}},
		{"the same account, another id", gatebook.ImportUser{User: gatebook.User{ID: "ada-2", Email: "new@example.com"}, Accounts: ada.Accounts}, gatebook.Imported{UserID: "ada", Known: true}},
		{"no id, the same address", gatebook.ImportUser{User: gatebook.User{Email: "GRACE@example.com"}}, gatebook.Imported{UserID: "grace", Known: true}},
		{"no id, the same account", gatebook.ImportUser{Accounts: ada.Accounts}, gatebook.Imported{UserID: "ada", Known: true}},
		{"another address", gatebook.ImportUser{User: gatebook.User{ID: "ada", Email: "eve@example.com"}}, gatebook.Imported{Refused: `its id "ada" is that of a user with another address`}},
		{"another id", gatebook.ImportUser{User: gatebook.User{ID: "eve", Email: "ada@example.com"}}, gatebook.Imported{Refused: `its address is that of the user "ada"`}},
		{"somebody's account", gatebook.ImportUser{User: gatebook.User{ID: "grace", Email: "grace@example.com"}, Accounts: ada.Accounts}, gatebook.Imported{Refused: `its account "1" at "github" is that of the user "ada"`}},
		{"an account more", gatebook.ImportUser{User: ada.User, Accounts: []gatebook.Account{githubAccount("1"), githubAccount("2")}}, gatebook.Imported{Refused: `the user "ada" is there already, without its account "2" at "github": if it is theirs, link it`}},
		{"no id, an account that the address has not", gatebook.ImportUser{User: grace.User, Accounts: []gatebook.Account{githubAccount("3")}}, gatebook.Imported{Refused: `the user "grace" is there already, without its account "3" at "github": if it is theirs, link it`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, dry := range []bool{true, false} {
				if got := imports(t, d, &gatebook.ImportOptions{DryRun: dry}, tt.user)[0]; got != tt.want {
					t.Errorf("dry run %v: Import = %+v, want %+v", dry, got, tt.want)
				}
			}
		})
	}
	if after := len(d.entries()); after != before {
		t.Errorf("%d entries more", after-before)
	}
}

// Two of one import that are the same or exclude each other: the first is made.
func TestImportTwins(t *testing.T) {
	users := []gatebook.ImportUser{
		{User: gatebook.User{ID: "1", Email: "a@example.com"}, Accounts: []gatebook.Account{githubAccount("1")}},
		{User: gatebook.User{ID: "1", Email: "a@example.com"}, Accounts: []gatebook.Account{githubAccount("1")}},
		{User: gatebook.User{Email: "A@example.com"}},
		{User: gatebook.User{ID: "2", Email: "a@example.com"}},
		{User: gatebook.User{ID: "3"}},
	}
	want := []gatebook.Imported{{UserID: "1"}, {UserID: "1", Known: true}, {UserID: "1", Known: true}, {}, {UserID: "3"}}
	for _, dry := range []bool{true, false} {
		d := newDesk(t, nil)
		got := imports(t, d, &gatebook.ImportOptions{DryRun: dry}, users...)
		if got[3].Refused == "" || got[3].Known {
			t.Errorf("dry run %v: two users with one address: %+v", dry, got[3])
		}
		got[3] = gatebook.Imported{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("dry run %v (-want +got):\n%s", dry, diff)
		}
		recorded := 3
		if dry {
			recorded = 0
		}
		if n := len(d.entries()); n != recorded {
			t.Errorf("dry run %v: %d entries, want %d", dry, n, recorded)
		}
	}
}

// A batch that meets somebody who came between loses nobody.
func TestImportConflict(t *testing.T) {
	d := newDesk(t, nil)
	var users []gatebook.ImportUser
	for i := range 5 {
		users = append(users, gatebook.ImportUser{User: gatebook.User{Email: fmt.Sprintf("%d@example.com", i)}})
	}
	once := true
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op == "Commit" && once {
			once = false
			other := gatebook.CreateUser{User: gatebook.User{ID: "between", Email: "2@example.com"}, Subject: record.NewKey()}
			return d.store.Store.Commit(context.Background(), &gatebook.Act{Writes: []gatebook.Write{other}})
		}
		return nil
	}, nil)
	out := imports(t, d, nil, users...)
	for i, o := range out {
		if i == 2 && o != (gatebook.Imported{UserID: "between", Known: true}) || i != 2 && (o.UserID == "" || o.Known || o.Refused != "") {
			t.Errorf("user %d: %+v", i, o)
		}
	}
	if n := len(d.entries()); n != 4 {
		t.Errorf("%d entries, want 4", n)
	}
}

// Who is imported by somebody else between two questions is known, and not
// refused for what the first of them did not see.
func TestImportMeanwhile(t *testing.T) {
	d := newDesk(t, nil)
	user := gatebook.ImportUser{User: gatebook.User{ID: "1"}, Accounts: []gatebook.Account{githubAccount("1"), githubAccount("2")}}
	finds := 0
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op != "Find" {
			return nil
		}
		if finds++; finds != 2 {
			return nil
		}
		writes := []gatebook.Write{gatebook.CreateUser{User: user.User, Subject: record.NewKey()}}
		for _, acc := range user.Accounts {
			acc.UserID = "1"
			writes = append(writes, gatebook.LinkAccount{Account: acc})
		}
		return d.store.Store.Commit(context.Background(), &gatebook.Act{Writes: writes})
	}, nil)
	if got := imports(t, d, nil, user)[0]; got != (gatebook.Imported{UserID: "1", Known: true}) || finds < 2 {
		t.Errorf("Import = %+v after %d questions, want a known user", got, finds)
	}
}

// When the store fails, what was committed stays and is said.
func TestImportFault(t *testing.T) {
	d := newDesk(t, nil)
	var users []gatebook.ImportUser
	for i := range 450 {
		users = append(users, gatebook.ImportUser{User: gatebook.User{ID: fmt.Sprint(i)}})
	}
	down, commits := errors.New("down"), 0
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op == "Commit" {
			if commits++; commits == 2 {
				return down
			}
		}
		return nil
	}, nil)
	out, err := d.auth.Import(t.Context(), users, nil)
	if !errors.Is(err, down) {
		t.Fatalf("Import = %v, want %v", err, down)
	}
	if out[199].UserID != "199" || out[200].UserID != "" {
		t.Errorf("said %+v and %+v of those around the fault", out[199], out[200])
	}
	out = imports(t, d, nil, users...)
	if !out[199].Known || out[200].Known || out[200].UserID != "200" {
		t.Errorf("again: %+v, %+v", out[199], out[200])
	}
	if n := len(d.entries()); n != 450 {
		t.Errorf("%d entries, want 450", n)
	}
}

func TestImportBadUsers(t *testing.T) {
	d := newDesk(t, nil)
	account := func(change func(*gatebook.Account)) gatebook.ImportUser {
		a := githubAccount("1")
		change(&a)
		return gatebook.ImportUser{Accounts: []gatebook.Account{a}}
	}
	long := string(make([]byte, 1025))
	for _, tt := range []struct {
		user gatebook.ImportUser
		want string
	}{
		{gatebook.ImportUser{User: gatebook.User{Name: "Nobody"}}, "it has neither id, email nor account, so that nobody could tell whether it is there already"},
		{gatebook.ImportUser{User: gatebook.User{ID: "1", EmailVerified: time.Now()}}, "emailVerified is set without an email"},
		{gatebook.ImportUser{User: gatebook.User{Email: "ada"}}, "email is no e-mail address"},
		{gatebook.ImportUser{User: gatebook.User{Email: "ada@example.com\nBcc: x@example.com"}}, "email is no e-mail address"},
		{gatebook.ImportUser{User: gatebook.User{ID: "a\x00b"}}, "id has a NUL byte"},
		{gatebook.ImportUser{User: gatebook.User{ID: "1", Name: "\xff"}}, "name is not UTF-8"},
		{gatebook.ImportUser{User: gatebook.User{ID: long}}, "id has 1025 bytes, at most 1024 are kept"},
		{account(func(a *gatebook.Account) { a.Provider = "" }), "the account has no provider"},
		{account(func(a *gatebook.Account) { a.ProviderAccountID = "" }), "the account has no providerAccountId"},
		{account(func(a *gatebook.Account) { a.Type = "" }), "the account has no type"},
		{account(func(a *gatebook.Account) { a.AccessToken = "secret\x00" }), "access_token has a NUL byte"},
		{gatebook.ImportUser{Accounts: []gatebook.Account{githubAccount("1"), githubAccount("1")}}, `the account "1" at "github" is there twice`},
	} {
		if got := imports(t, d, nil, tt.user)[0]; got != (gatebook.Imported{Refused: tt.want}) {
			t.Errorf("Import(%+v) = %+v, want refused: %s", tt.user, got, tt.want)
		}
	}
	if n := len(d.entries()); n != 0 {
		t.Errorf("%d entries", n)
	}
}

// picky makes ids, has no room for access tokens, and none for the id "long".
type picky struct {
	*store
	made int
}

func (p *picky) NewUserID(context.Context, gatebook.User, *sql.Tx) (string, error) {
	p.made++
	return fmt.Sprint(p.made), nil
}

func (*picky) Unfit(a *gatebook.Account) []string {
	if a.AccessToken != "" {
		return []string{"access_token"}
	}
	return nil
}

func (*picky) CheckWrite(_ context.Context, w gatebook.Write) error {
	if u, ok := w.(gatebook.CreateUser); ok && u.User.ID == "long" {
		return fmt.Errorf("%w: column \"id\" holds 3 characters", gatebook.ErrUnfit)
	}
	return nil
}

// What the store cannot hold is refused, in a dry run too; a token that it cannot
// hold is left out and told of, and ids are made by the store that makes them.
func TestImportWhatFits(t *testing.T) {
	var p *picky
	d := newDesk(t, func(d *desk, c *gatebook.Config) {
		p = &picky{store: d.store}
		c.Adapter = p
	})
	users := []gatebook.ImportUser{{User: gatebook.User{ID: "long"}}, {User: gatebook.User{Email: "ada@example.com"}, Accounts: []gatebook.Account{githubAccount("1")}}}
	refused := gatebook.Imported{Refused: `column "id" holds 3 characters`}
	if out := imports(t, d, &gatebook.ImportOptions{DryRun: true}, users...); out[0] != refused || out[1] != (gatebook.Imported{}) || p.made != 0 {
		t.Errorf("dry run: %+v, and %d ids made", out, p.made)
	}
	if out := imports(t, d, nil, users...); out[0] != refused || out[1].UserID != "1" {
		t.Errorf("Import = %+v", out)
	}
	entries := d.entries()
	if diff := cmp.Diff([]string{"createUser", "linkAccount", "account.tokensOmitted"}, types(entries)); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	for _, e := range entries {
		if e.Header.Source != record.SourceImport || e.Header.Act != entries[0].Header.Act {
			t.Errorf("header %s", e.Raw)
		}
	}
}
