package adapters

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/gatebook/gatebook/test/oidcprovider"
)

// TestAdapters tells stories of both sides, on a place for each kind.
func TestAdapters(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, k)
			p.as("official suite", func() { officialSuite(p) })
			p.as("migrate beside", func() { migrateBeside(p) })
			s := newSites(p)
			for _, story := range []struct {
				name string
				tell func(*sites)
			}{
				{"same rows", sameRows}, {"export", export}, {"exact", exact}, {"finer times", finerTimes}, {"time forms", timeForms},
				{"own users", ownUsers}, {"housekeeping", housekeeping}, {"long tokens", longTokens},
				{"one session", oneSession}, {"adopted once", adoptedOnce}, {"one link", oneLink}, {"one link at once", oneLinkAtOnce},
				{"first sign-in at once", firstSignInAtOnce}, {"revoked", revoked}, {"and back", andBack},
			} {
				s.empty()
				p.as(story.name, func() { story.tell(s) })
			}
		})
	}
}

// migrateBeside: Gatebook's tables and keys are made while Auth.js's adapter goes
// on writing, which notices nothing. Only Prisma on MySQL does: it reads and then
// writes in one transaction, which the server ends for a change of the table.
func migrateBeside(p *place) {
	p.npm.again = p.name == "prisma-mysql"
	defer func() { p.npm.again = false }()
	stop, begun := make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	var writers sync.WaitGroup
	var made atomic.Int32
	for range 4 {
		writers.Go(func() {
			defer begin() // a writer that fails ends
			for {
				who := p.newPerson(uuid.NewString(), false)
				p.npmWrites(who)
				made.Add(1)
				begin()
				p.npmChanges(who)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	<-begun
	p.migrate()
	close(stop)
	writers.Wait()
	if users := p.rows(p.user, nil); len(users) != int(made.Load()) {
		p.t.Errorf("Auth.js's adapter made %d users beside a migration, of which %d are there", made.Load(), len(users))
	}
}

// oneSession: a session begun at either site is the same at both: it is read,
// extended and ended at each.
func oneSession(s *sites) {
	v := s.visitor()
	for _, way := range []struct{ begin, other string }{{s.authjs, s.gatebook}, {s.gatebook, s.authjs}} {
		v.signIn(way.begin, oidcprovider.Ada)
		want := v.session(way.begin)
		if want == nil || want.User.Email != "ada@example.com" {
			s.t.Fatalf("%s shows %v of who signed in there", way.begin, want)
		}
		if diff := cmp.Diff(want, v.session(way.other)); diff != "" {
			s.t.Errorf("%s shows another session than %s (-want +got):\n%s", way.other, way.begin, diff)
		}
		s.extends(v, way.other)
		s.extends(v, way.begin)
		token := v.token()
		v.signOut(way.other)
		s.none(s.session, row{"sessionToken": token})
		again := s.visitor()
		again.http.Jar.SetCookies(mustParse(s.t, s.gatebook), []*http.Cookie{{Name: "authjs.session-token", Value: token, Path: "/"}})
		if got := again.session(way.begin); got != nil {
			s.t.Errorf("%s shows a session that ended at %s: %v", way.begin, way.other, got)
		}
	}
	if n := len(s.rows(s.user, nil)); n != 1 {
		s.t.Errorf("one person who signed in at both sites is %d users", n)
	}
	if n := len(s.rows(s.account, nil)); n != 1 {
		s.t.Errorf("one account of one person is %d rows", n)
	}
}

// extends reads a session that is older than the update age at a site, which then
// moves its expiry, and reads the new one at the other.
func (s *sites) extends(v *visitor, site string) {
	s.t.Helper()
	old := now().Add(maxAge - updateAge - time.Hour)
	s.npm.call("updateSession", row{"sessionToken": v.token(), "expires": s.cut(old)})
	if got := v.session(site); got == nil || !got.Expires.Equal(s.cut(old)) {
		s.t.Errorf("%s shows %v of a session that expires at %v", site, got, s.cut(old))
	}
	expires := s.one(s.session, row{"sessionToken": v.token()})["expires"].(time.Time)
	if d := time.Until(expires) - maxAge; d > 0 || d < -time.Minute {
		s.t.Errorf("%s moved the expiry to %v, want %v from now", site, expires, maxAge)
	}
	for _, other := range []string{s.authjs, s.gatebook} {
		if got := v.session(other); got == nil || !got.Expires.Equal(expires) {
			s.t.Errorf("%s shows %v of a session that expires at %v", other, got, expires)
		}
	}
}

// adoptedOnce: a session that began at Auth.js and its user are recorded when
// they are first met here, once, however many requests come at once.
func adoptedOnce(s *sites) {
	v := s.visitor()
	v.signIn(s.authjs, oidcprovider.Ada)
	v.crowd()
	s.wantRecorded(map[string]int{"user.adopted": 1, "session.adopted": 1})

	second := s.visitor() // the same person at another browser
	second.signIn(s.authjs, oidcprovider.Ada)
	second.crowd()
	second.signOut(s.gatebook)
	s.wantRecorded(map[string]int{"user.adopted": 1, "session.adopted": 2, "signOut": 1, "createUser": 0})

	third := s.visitor() // and one whose session begins here
	third.signIn(s.gatebook, oidcprovider.Ada)
	third.crowd()
	s.wantRecorded(map[string]int{"user.adopted": 1, "session.adopted": 2, "signIn": 1, "createUser": 0, "linkAccount": 0})
	for _, e := range s.entries() {
		if typ := e.Header.Type; (typ == "user.adopted" || typ == "session.adopted") != (e.Header.Source == "foreign") {
			s.t.Errorf("%s has the source %s", typ, e.Header.Source)
		}
	}
}

// crowd reads the session at Gatebook in many requests at once, at two servers.
func (v *visitor) crowd() {
	v.t.Helper()
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			if v.session([]string{v.gatebook, v.second}[i%2]) == nil {
				v.t.Error("Gatebook shows no session to one of a crowd")
			}
		})
	}
	all.Wait()
}

func (s *sites) wantRecorded(want map[string]int) {
	s.t.Helper()
	for typ, n := range want {
		if got := s.recorded(typ); got != n {
			s.t.Errorf("the book has %d %s, want %d", got, typ, n)
		}
	}
}

// oneLink: a magic link that one site sent is opened at the other, once.
func oneLink(s *sites) {
	for _, way := range []struct{ made, opened string }{{s.authjs, s.gatebook}, {s.gatebook, s.authjs}} {
		v := s.visitor()
		link := v.ask(way.made, "grace@example.com")
		if a := v.get(way.opened + link); a.status != http.StatusFound || v.token() == "" {
			s.t.Fatalf("%s answers %v to a link that %s sent", way.opened, a, way.made)
		}
		if got := v.session(way.made); got == nil || got.User.Email != "grace@example.com" {
			s.t.Errorf("%s shows %v", way.made, got)
		}
		for _, again := range []string{way.made, way.opened} {
			other := s.visitor()
			other.get(again + link)
			if other.token() != "" {
				s.t.Errorf("%s took a link that was used at %s", again, way.opened)
			}
		}
	}
	if n := len(s.rows(s.user, nil)); n != 1 {
		s.t.Errorf("one person who opened two links is %d users", n)
	}
}

// oneLinkAtOnce: of all who open one link at the same time at both sites, one
// gets in.
func oneLinkAtOnce(s *sites) {
	s.visitor().signIn(s.gatebook, oidcprovider.Ada) // so that links are for a user who is known
	for round := range 6 {
		made := []string{s.authjs, s.gatebook}[round%2]
		link := s.visitor().ask(made, "ada@example.com")
		visitors := make([]*visitor, 8)
		var all sync.WaitGroup
		for i := range visitors {
			visitors[i] = s.visitor()
			all.Go(func() { visitors[i].get([]string{s.authjs, s.gatebook}[i%2] + link) })
		}
		all.Wait()
		in := map[string]int{}
		for i, v := range visitors {
			if v.token() != "" {
				in[[]string{"Auth.js", "Gatebook"}[i%2]]++
			}
		}
		if n := in["Gatebook"] + in["Auth.js"]; n != 1 && !s.readsLinksFirst || n == 0 || in["Gatebook"] > 1 {
			s.t.Errorf("a link was used %d times when opened at once: %v", n, in)
		}
	}
}

// firstSignInAtOnce: one person who signs in for the first time at both sites
// at the same time is one user with one account. Who came too late at Auth.js is
// told so and gets in the next time.
func firstSignInAtOnce(s *sites) {
	for range 4 {
		visitors := []*visitor{s.visitor(), s.visitor(), s.visitor(), s.visitor()}
		var all sync.WaitGroup
		for i, v := range visitors {
			back := v.begin([]string{s.authjs, s.gatebook}[i%2], oidcprovider.Ada)
			all.Go(func() { v.get(back) })
		}
		all.Wait()
		if users, accounts := s.rows(s.user, nil), s.rows(s.account, nil); len(users) != 1 || len(accounts) != 1 {
			s.t.Fatalf("one person is %d users with %d accounts:\n%v\n%v", len(users), len(accounts), users, accounts)
		}
		for i, v := range visitors {
			if v.token() == "" {
				v.signIn([]string{s.authjs, s.gatebook}[i%2], oidcprovider.Ada)
			}
		}
		s.empty()
	}
}

// revoked: sessions that began at either side are listed and ended here, and are
// then ended at both.
func revoked(s *sites) {
	var visitors []*visitor
	for _, site := range []string{s.gatebook, s.authjs, s.authjs, s.gatebook} {
		v := s.visitor()
		v.signIn(site, oidcprovider.Ada)
		visitors = append(visitors, v)
	}
	id := asID(s.rows(s.user, nil)[0]["id"])
	list, err := s.auth.Sessions(s.t.Context(), id)
	if err != nil || len(list) != len(visitors) {
		s.t.Fatalf("sessions of the user: %v, %v, want %d", list, err, len(visitors))
	}
	var known []string // that began here
	for _, l := range list {
		if l.ID == "" || l.Token != "" {
			s.t.Errorf("a listed session has the id %q and the token %q", l.ID, string(l.Token))
		}
		if l.Provider == "op" {
			known = append(known, l.ID)
		}
	}
	if len(known) != 2 {
		s.t.Fatalf("%d sessions are known to have begun here, want 2", len(known))
	}
	if n, err := s.auth.RevokeOtherSessions(s.t.Context(), id, known[0]); n != 3 || err != nil {
		s.t.Errorf("RevokeOtherSessions = %d, %v, want 3", n, err)
	}
	on := 0
	for _, v := range visitors {
		here, there := v.session(s.gatebook), v.session(s.authjs)
		if (here == nil) != (there == nil) {
			s.t.Errorf("a session is %v here and %v at Auth.js", here, there)
		}
		if here != nil {
			on++
		}
	}
	if on != 1 {
		s.t.Errorf("%d sessions go on, want 1", on)
	}
	s.wantRecorded(map[string]int{"session.revoked": 1, "session.adopted": 2})
}

// andBack: without Gatebook and its tables Auth.js goes on with what there is.
func andBack(s *sites) {
	v := s.visitor()
	v.signIn(s.gatebook, oidcprovider.Grace)
	link := v.ask(s.gatebook, "grace@example.com")
	s.close()
	for _, table := range s.ownTables() {
		s.exec("DROP TABLE " + s.quote(table))
	}
	if got := v.session(s.authjs); got == nil || got.User.Email != "grace@example.com" {
		s.t.Errorf("Auth.js shows %v of a session that began at Gatebook", got)
	}
	v.signOut(s.authjs)
	if a := v.get(s.authjs + link); a.status != http.StatusFound || v.token() == "" {
		s.t.Errorf("Auth.js answers %v to a link that Gatebook sent", a)
	}
	v.signOut(s.authjs)
	v.signIn(s.authjs, oidcprovider.Grace)
	if n := len(s.rows(s.user, nil)); n != 1 {
		s.t.Errorf("one person is %d users", n)
	}
}
