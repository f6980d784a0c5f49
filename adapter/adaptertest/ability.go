package adaptertest

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

var idForms = map[IDs]*regexp.Regexp{
	TextIDs:    regexp.MustCompile(`^.{1,255}$`),
	UUIDs:      regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`),
	IntegerIDs: regexp.MustCompile(`^[1-9][0-9]{0,18}$`),
}

// tokens are the fields of an account that a table may have no room for, by
// their names in RFC 6749, Section 5.1, and OpenID Connect Core.
var tokens = map[string]func(*gatebook.Account, string){
	"access_token":  func(a *gatebook.Account, s string) { a.AccessToken = gatebook.Secret(s) },
	"refresh_token": func(a *gatebook.Account, s string) { a.RefreshToken = gatebook.Secret(s) },
	"id_token":      func(a *gatebook.Account, s string) { a.IDToken = gatebook.Secret(s) },
	"scope":         func(a *gatebook.Account, s string) { a.Scope = s },
	"token_type":    func(a *gatebook.Account, s string) { a.TokenType = s },
	"session_state": func(a *gatebook.Account, s string) { a.SessionState = s },
}

// unfit returns the fields of a that the store says it has no room for.
func (w *world) unfit(a gatebook.Account) []string {
	if l, ok := w.a.(gatebook.AccountLimiter); ok {
		return l.Unfit(&a)
	}
	return nil
}

// refusal wants an error of Commit, if there is one, to say that the store cannot
// hold the writes, and CheckWrite to have said so beforehand.
func (w *world) refusal(err error, writes ...gatebook.Write) {
	w.Helper()
	if err != nil && (!errors.Is(err, gatebook.ErrUnfit) || errors.Is(err, gatebook.ErrConflict)) {
		w.Errorf("Commit(%s) = %v; what cannot be held is refused with an error that matches ErrUnfit, and no other", kinds(writes), err)
	}
	c, ok := w.a.(gatebook.WriteChecker)
	if !ok {
		return
	}
	var said error
	for _, wr := range writes {
		if e := c.CheckWrite(w.ctx, wr); e != nil {
			said = e
		}
	}
	if (said != nil) != (err != nil) || said != nil && !errors.Is(said, gatebook.ErrUnfit) {
		w.Errorf("CheckWrite = %v of a write with which Commit(%s) = %v", said, kinds(writes), err)
	}
}

var abilityRules = []rule{
	{"made ids", "NewUserID returns ids of the store's form that no user has and no other call returns.", func(w *world) {
		m, ok := w.a.(gatebook.IDMaker)
		if !ok {
			return
		}
		ids := make([]string, racers)
		w.together(racers, func(i int) (err error) {
			ids[i], err = m.NewUserID(w.ctx, gatebook.User{Name: "Ada"}, nil)
			return err
		}, func(i int, err error) {
			switch form := idForms[w.opts.IDs]; {
			case err != nil:
				w.Errorf("NewUserID: %v", err)
			case !form.MatchString(ids[i]):
				w.Errorf("NewUserID = %q, want an id that matches %s", ids[i], form)
			case w.find(gatebook.Query{UserID: ids[i]}).ByID != nil:
				w.Errorf("NewUserID = %q, which is there already", ids[i])
			}
		})
		for _, id := range ids {
			u := create(gatebook.User{ID: id, Name: "Ada"})
			w.commit(u) // conflicts when two are the same
			w.found(u)
		}
	}},
	{"other ids", "What is no id of the store is no user's: it is not found and conflicts, and is no error of the database.", func(w *world) {
		u := create(w.user())
		w.commit(u)
		for _, id := range []string{
			"", "x", " ", "\x00", "\xff", "0", "-1", "1.5", "1e3", "0x10", "00" + u.User.ID, u.User.ID + " ", " " + u.User.ID, "+" + u.User.ID,
			u.User.ID + "\x00", "{" + u.User.ID + "}", strings.ReplaceAll(u.User.ID, "-", "") + "-", "99999999999999999999999999",
			"9223372036854775808", "9223372036854775807", uuid() + "0", strings.ToUpper(uuid()), strings.Repeat("9", 3000),
		} {
			if f := w.find(gatebook.Query{UserID: id}); f.ByID != nil {
				w.Errorf("Find by the id %.40q = %s", id, showUser(f.ByID))
			}
			if rows, err := w.a.Sessions(w.ctx, id); err != nil || len(rows) != 0 {
				w.Errorf("Sessions(%.40q) = %v, %v; want none", id, rows, err)
			}
			if rows, err := w.a.Accounts(w.ctx, id); err != nil || len(rows) != 0 {
				w.Errorf("Accounts(%.40q) = %v, %v; want none", id, rows, err)
			}
			if rows, err := w.a.Authenticators(w.ctx, id); err != nil || len(rows) != 0 {
				w.Errorf("Authenticators(%.40q) = %v, %v; want none", id, rows, err)
			}
			for _, wr := range []gatebook.Write{
				gatebook.DeleteUser{ID: id},
				gatebook.UpdateUser{User: gatebook.User{ID: id, Name: "x"}, Fields: []string{"name"}},
				gatebook.AddSubject{UserID: id, Subject: record.NewKey()},
				gatebook.LinkAccount{Account: account(gatebook.User{ID: id})},
				gatebook.UnlinkAccount{UserID: id, AccountKey: gatebook.AccountKey{Provider: "github", ProviderAccountID: "1"}},
				gatebook.CreateSession{Session: session(gatebook.User{ID: id})},
				gatebook.KeepAccount{UserID: id, Providers: []string{"github"}},
			} {
				w.conflicts("the id "+id[:min(len(id), 40)], wr)
			}
		}
		w.found(u)
	}},
	{"account fits", "An account of ordinary size has room.", func(w *world) {
		a := account(w.user())
		a.IDToken, a.Scope, a.SessionState = gatebook.Secret(strings.Repeat("x", 200)), "openid profile email", uuid()
		if got := w.unfit(a); len(got) != 0 {
			w.Errorf("Unfit = %v, want none", got)
		}
	}},
	{"account tokens", "A token is stored whole or named by Unfit; one that is named is refused, never cut.", func(w *world) {
		for field, set := range tokens {
			for _, token := range []string{
				strings.Repeat("x", 64<<10), strings.Repeat("x", 64<<10-1), strings.Repeat("\U0001f511", 16<<10),
				strings.Repeat("x", 2048), strings.Repeat("x", 2049), strings.Repeat("x", 255), strings.Repeat("x", 256),
				strings.Repeat("x", 191), strings.Repeat("x", 192), strings.Repeat("\u00e9", 191), strings.Repeat("\u00e9", 255),
				" token with spaces at the ends ", "\u212b is not \u00c5",
			} {
				u := create(w.user())
				a := account(u.User)
				set(&a, token)
				w.commit(u)
				names := w.unfit(a)
				link := gatebook.LinkAccount{Account: a}
				err := w.a.Commit(w.ctx, &gatebook.Act{Writes: []gatebook.Write{link}})
				w.refusal(err, link)
				switch {
				case len(names) == 0 && err != nil:
					w.Errorf("LinkAccount with %s of %d bytes, which Unfit does not name, = %v", field, len(token), err)
				case len(names) > 0 && !errors.Is(err, gatebook.ErrUnfit):
					w.Errorf("LinkAccount with %v, for which there is no room, = %v; want an error that matches ErrUnfit", names, err)
				case len(names) > 0 && !slices.Equal(names, []string{field}):
					w.Errorf("Unfit of an account with %s of %d bytes = %v", field, len(token), names)
				case len(names) > 0:
					if len(w.accounts(u.User.ID)) != 0 {
						w.Errorf("an account that was refused is there")
					}
					set(&a, "")
					w.commit(gatebook.LinkAccount{Account: a})
				}
				w.sameAccount(a)
			}
		}
	}},
}
