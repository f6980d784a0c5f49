package adapters

import (
	"cmp"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
)

// export: what Auth.js's adapter wrote is read page by page, every user once with
// all accounts, field by field, without Gatebook's tables and without a change.
func export(s *sites) {
	want := map[string]gatebook.ImportUser{}
	for i := range 7 {
		who := s.newPerson(fmt.Sprintf("Exported %d", i), i%3 == 0)
		s.npmWrites(who)
		user := gatebook.ImportUser{User: userOf(who.user), Accounts: []gatebook.Account{accountOf(who.account)}}
		if s.users != nil {
			user.User.Extra = map[string]any{"role": "member"}
		}
		switch i {
		case 1: // two accounts
			who.account["provider"] = "second"
			s.npm.call("linkAccount", who.account)
			user.Accounts = append(user.Accounts, accountOf(who.account))
		case 2: // none
			s.exec(fmt.Sprintf("DELETE FROM %s WHERE %s = '%s'", s.quote(s.account), s.quote("providerAccountId"), who.account["providerAccountId"]))
			user.Accounts = nil
		}
		want[user.User.ID] = user
	}
	db := s.newStore().SQL()
	e, err := sqlstore.NewExport(s.t.Context(), db, s.layout(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	if n, err := e.Count(s.t.Context()); n != int64(len(want)) || err != nil {
		s.t.Errorf("Count = %d, %v, want %d", n, err, len(want))
	}
	for _, size := range []int{2, 7, 100} {
		s.as(fmt.Sprint("pages of ", size), func() { s.pages(e, size, want) })
	}
}

func (p *place) pages(e *sqlstore.Export, size int, want map[string]gatebook.ImportUser) {
	got := map[string]gatebook.ImportUser{}
	for after := ""; ; {
		page, err := e.Users(p.t.Context(), after, size)
		if err != nil {
			p.t.Fatal(err)
		}
		if len(page) > size {
			p.t.Fatalf("a page of %d users, want at most %d", len(page), size)
		}
		for _, u := range page {
			if _, twice := got[u.User.ID]; twice {
				p.t.Fatalf("the user %q twice", u.User.ID)
			}
			got[u.User.ID] = u
			after = u.User.ID
		}
		if len(page) < size {
			break
		}
	}
	same(p.t, want, got)
}

func same(t *testing.T, want, got map[string]gatebook.ImportUser) {
	t.Helper()
	byKey := cmpopts.SortSlices(func(a, b gatebook.Account) bool {
		return cmp.Compare(a.Provider+a.ProviderAccountID, b.Provider+b.ProviderAccountID) < 0
	})
	if diff := gocmp.Diff(want, got, byKey, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(gatebook.Account{}, "UserID", "Reply")); diff != "" {
		t.Errorf("exported (-want +got):\n%s", diff)
	}
}
