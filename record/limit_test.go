package record_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/record"
)

// fill sets every string and list of a payload to what is worst to encode.
func fill(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 40, 40))
		for i := range v.Len() {
			v.Index(i).SetString(s)
		}
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct && v.Type().Elem().Name() != "Time" {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), s)
		}
	case reflect.Struct:
		if v.Type().Name() == "Time" {
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), s)
		}
	}
}

func TestLongestPayloadFits(t *testing.T) {
	for _, s := range []string{strings.Repeat("a", 5000), strings.Repeat("\x01", 5000), strings.Repeat("\xff\"", 5000), strings.Repeat("é\u2028", 3000)} {
		for _, p := range []any{record.SignIn{}, record.SignOut{}, record.UserChange{}, record.AccountChange{}, record.SessionUse{},
			record.SessionEnd{}, record.SignInFailed{}, record.Request{}, record.Defence{}, record.Handler{}} {
			v := reflect.New(reflect.TypeOf(p))
			fill(v.Elem(), s)
			b, err := record.NewBlock(record.ClassIdentity, record.Key{}, v.Interface())
			if err != nil {
				t.Errorf("%T of %.4q: %v", p, s, err)
				continue
			}
			if f := v.Elem().FieldByName("Truncated"); f.IsValid() && !strings.Contains(string(b.Payload()), `"truncated":["`) {
				t.Errorf("%T of %.4q names nothing that was cut", p, s)
			}
		}
	}
}

func TestTermIsThatOfTheBlock(t *testing.T) {
	id := strings.Repeat("u", 2000)
	b, err := record.NewBlock(record.ClassIdentity, record.Key{}, record.SignOut{User: record.Person{ID: id}})
	if err != nil {
		t.Fatal(err)
	}
	var p record.SignOut
	if err := b.Decode(&p); err != nil {
		t.Fatal(err)
	}
	if len(p.User.ID) != 1024 || strings.Join(p.Truncated, " ") != "user.id" {
		t.Errorf("id of %d bytes, truncated %q", len(p.User.ID), p.Truncated)
	}
	if record.NewTerm(nil, record.TermUser, id) != record.NewTerm(nil, record.TermUser, p.User.ID) {
		t.Error("the term of the whole id is not that of the recorded one")
	}
}

func BenchmarkEntry(b *testing.B) {
	h, _, _ := known(b)
	isNew := false
	id := record.SignIn{User: record.Person{ID: "8f14e45f-ceea-4671-9d62-1c3b0a7f5e21", Email: "ada@example.com", Name: "Ada"},
		Account: &record.LinkedAccount{Provider: "github", Type: "oauth", ID: "583231"}, Session: "Zx3kq1N0d0mVb2Jw", Strategy: "database", IsNewUser: &isNew}
	req := record.Request{IP: "192.0.2.7", IPSource: "connection", UserAgent: strings.Repeat("Mozilla/5.0 ", 12), Method: "GET", Route: "callback/github"}
	key := make([]byte, 32)
	b.ReportAllocs()
	for b.Loop() {
		b1, _ := record.NewBlock(record.ClassIdentity, h.Subject, id)
		b2, _ := record.NewBlock(record.ClassRequest, h.Subject, req)
		terms := []record.Term{record.NewTerm(key, record.TermUser, id.User.ID), record.NewTerm(key, record.TermEmail, id.User.Email),
			record.NewTerm(key, record.TermIP, req.IP), record.NewTerm(key, record.TermSession, id.Session), record.NewTerm(key, record.TermAccount, "github\x00583231")}
		if _, err := record.New(h, []record.Block{b1, b2}, terms); err != nil {
			b.Fatal(err)
		}
	}
}
