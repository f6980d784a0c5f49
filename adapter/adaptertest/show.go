package adaptertest

import (
	"fmt"
	"reflect"
	"time"

	"github.com/gatebook/gatebook"
)

func show(f *gatebook.Found) string {
	s := fmt.Sprintf("by id %s\nby e-mail %s\nby account %s\nlink %v\ncheck used %v\n",
		showUser(f.ByID), showUser(f.ByEmail), showUser(f.ByAccount), f.Verification, f.CheckUsed)
	s += fmt.Sprintf("passkey %v, token session %v, revoked %v, links %v\n", f.Authenticator, f.TokenSession, f.Revoked, f.Links)
	if f.Session != nil {
		s += fmt.Sprintf("session %v of %s\n", f.Session.Session, showUser(&f.Session.FoundUser))
	}
	return s
}

func showUser(f *gatebook.FoundUser) string {
	if f == nil {
		return "nobody"
	}
	extra := ""
	for _, column := range []string{TextColumn, NumberColumn} {
		if v := f.User.Extra[column]; v != nil {
			extra += fmt.Sprintf(" %s=%v", column, v)
		}
	}
	return fmt.Sprintf("{%q name=%.200q email=%.200q image=%.200q verified=%s%s subject=%s}",
		f.User.ID, f.User.Name, f.User.Email, f.User.Image, stamp(f.User.EmailVerified), extra, f.Subject)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Format(time.RFC3339Nano)
}

// is wants the user found to be the one created.
func (w *world) is(by string, got *gatebook.FoundUser, want gatebook.CreateUser) {
	w.Helper()
	want.User.EmailVerified = w.opts.EmailVerified.cut(want.User.EmailVerified)
	if g, s := showUser(got), showUser(&gatebook.FoundUser{User: want.User, Subject: want.Subject}); g != s {
		w.Errorf("Find by %s = %s, want %s", by, g, s)
	}
}

// plain returns t so that == compares it, if it is in UTC.
func plain(t time.Time) time.Time {
	if t.Location().String() != "UTC" {
		return t
	}
	return t.UTC().Round(0)
}

// nothing reports whether f says that nothing exists.
func nothing(f *gatebook.Found) bool { return reflect.DeepEqual(*f, gatebook.Found{}) }

// sameLink wants got to be the magic link's row that was created.
func (w *world) sameLink(got *gatebook.VerificationToken, want gatebook.VerificationToken) {
	w.Helper()
	want.Expires = w.opts.LinkExpires.cut(want.Expires)
	if got == nil {
		w.Errorf("Find by verification = nil, want %v", want)
		return
	}
	l := *got
	if l.Expires = plain(l.Expires); l != want {
		w.Errorf("Find by verification = %v, want %v", l, want)
	}
}
