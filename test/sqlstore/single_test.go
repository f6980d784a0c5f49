package sqlstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/record"
)

// TestSameRow: in one statement no write sees what another did, and a row that one
// locked or changed cannot be had again. Acts that touch a row several times come
// to the same on every database.
func TestSameRow(t *testing.T) {
	at := time.Date(2031, time.March, 9, 7, 5, 3, 0, time.UTC)
	u := gatebook.User{ID: "u", Name: "Ada", Email: "ada@example.com"}
	renamed := u
	renamed.Name = "Countess"
	update := gatebook.UpdateUser{User: renamed, Fields: []string{"name"}}
	touch := gatebook.UpdateUser{User: u}
	verify := gatebook.UpdateUser{User: gatebook.User{ID: "u", EmailVerified: at}, Fields: []string{"emailVerified"}}
	link := gatebook.LinkAccount{Account: gatebook.Account{UserID: "u", Type: gatebook.TypeOAuth, Provider: "p", ProviderAccountID: "1"}}
	unlink := gatebook.UnlinkAccount{UserID: "u", AccountKey: gatebook.AccountKey{Provider: "p", ProviderAccountID: "1"}}
	begin := gatebook.CreateSession{Session: gatebook.StoredSession{Token: "t", UserID: "u", Expires: at, ID: "s", Begun: at, Provider: "p"}}
	note := gatebook.NoteSession{Session: gatebook.StoredSession{ID: "n", UserID: "u", Begun: at, Expires: at}}
	revoke := gatebook.RevokeToken{ID: "n", Expires: at}
	key := gatebook.AddSubject{UserID: "u", Subject: record.NewKey()}
	check := gatebook.UseCheck{Digest: [32]byte{1}, Expires: at}
	for name, writes := range map[string][]gatebook.Write{
		"lock, then change":     {link, update, begin},
		"change, then lock":     {update, link, key, begin},
		"touch, then lock":      {touch, link, begin},
		"lock, then touch":      {key, touch},
		"change twice":          {update, verify},
		"change and touch":      {verify, touch, update},
		"link and unlink":       {link, unlink, link},
		"note and revoke":       {note, note, revoke},
		"conflict: link twice":  {update, link, link},
		"conflict: check twice": {check, begin, check},
		"conflict: revoked":     {revoke, note},
		"conflict: the last":    {update, link, begin, gatebook.DeleteSession{Handle: "none"}},
		"conflict: the first":   {gatebook.DeleteSession{Handle: "none"}, update, link, begin},
		"conflict: in between":  {link, unlink, unlink, begin},
		"conflict: nobody":      {link, gatebook.AddSubject{UserID: "nobody", Subject: record.NewKey()}},
	} {
		t.Run(name, func(t *testing.T) {
			var first string
			for _, l := range []sqlstore.Layout{sqlstore.SQLite, sqlstore.Postgres, sqlstore.MySQL} {
				s := migrated(t, pool(t, l.Database()), l)
				if err := s.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: u}}}); err != nil {
					t.Fatal(err)
				}
				err := s.Commit(t.Context(), &gatebook.Act{Writes: writes})
				conflict := strings.HasPrefix(name, "conflict:")
				if conflict != errors.Is(err, gatebook.ErrConflict) || !conflict && err != nil {
					t.Errorf("%s: Commit = %v, want a conflict: %t", l.Database(), err, conflict)
				}
				got := outcome(t, s, at)
				if first == "" {
					first = got
				}
				if got != first {
					t.Errorf("%s: after the act there is %s, on SQLite %s", l.Database(), got, first)
				}
			}
		})
	}
}

// outcome is what an act of TestSameRow left.
func outcome(t *testing.T, s *sqlstore.Store, at time.Time) string {
	t.Helper()
	f, err := s.Find(t.Context(), gatebook.Query{
		UserID: "u", Session: "t", Account: gatebook.AccountKey{Provider: "p", ProviderAccountID: "1"}, TokenSession: "n", Check: [32]byte{1},
	})
	if err != nil || f.ByID == nil {
		t.Fatalf("Find = %+v, %v", f, err)
	}
	return fmt.Sprint(f.ByID.User.Name, f.ByID.User.EmailVerified.Equal(at), f.ByAccount != nil, f.Session != nil && f.Session.Session.ID == "s",
		f.TokenSession != nil, f.Revoked, f.CheckUsed, f.ByID.Subject.IsZero())
}
