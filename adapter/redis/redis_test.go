package redis_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/adapter/redis"
	"github.com/gatebook/gatebook/record"
)

// nowhere is an address at which nothing listens: port 1 is reserved. What needs a
// server is tested in test/redis.
const nowhere = "redis://127.0.0.1:1"

func open(t testing.TB, adapter gatebook.Adapter) *redis.Cache {
	t.Helper()
	c, err := redis.Open(adapter, nowhere, &redis.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// able is an adapter with abilities.
type able struct{ gatebook.Adapter }

func (able) NewUserID(_ context.Context, u gatebook.User, _ *sql.Tx) (string, error) {
	return "id of " + u.Name, nil
}

func (able) Unfit(a *gatebook.Account) []string { return []string{a.Provider} }

// The cache passes on what its adapter can, and does what the contract says where
// it cannot.
func TestAbilities(t *testing.T) {
	c := open(t, able{memory.New()})
	if id, err := c.NewUserID(t.Context(), gatebook.User{Name: "Ada"}, nil); id != "id of Ada" || err != nil {
		t.Errorf("NewUserID = %q, %v", id, err)
	}
	if names := c.Unfit(&gatebook.Account{Provider: "p"}); !slices.Equal(names, []string{"p"}) {
		t.Errorf("Unfit = %q", names)
	}
	c = open(t, memory.New())
	id, err := c.NewUserID(t.Context(), gatebook.User{Name: "Ada"}, nil)
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) || err != nil {
		t.Errorf("NewUserID of an adapter that makes none = %q, %v; want a random UUID", id, err)
	}
	if names := c.Unfit(&gatebook.Account{Provider: "p"}); names != nil {
		t.Errorf("Unfit of an adapter that takes all = %q", names)
	}
}

// Closing twice, early, or while reads go on does no harm.
func TestClose(t *testing.T) {
	c := open(t, memory.New())
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := c.Ping(t.Context()); err == nil {
		t.Error("Ping of a closed cache says that Redis answers")
	}
	if _, err := c.Session(t.Context(), "token"); err == nil {
		t.Error("a session that nobody began opens")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ctx); err != nil {
		t.Errorf("Run with an ended context: %v", err)
	}
}

var key = []byte("0123456789abcdef0123456789abcdef")

func seal(t testing.TB) redis.Seal {
	t.Helper()
	s, err := redis.NewSeal("b00c0000-0000-4000-8000-000000000000", key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var at = time.Date(2031, time.March, 9, 7, 5, 3, 217e6, time.UTC)

// rows are sessions of all kinds.
func rows() []gatebook.FoundSession {
	full := gatebook.FoundSession{
		Session:   gatebook.StoredSession{Handle: "handle\x00", UserID: "1", Expires: at, ID: "sid", Begun: at, Provider: "github", UserAgent: "<&>  "},
		FoundUser: gatebook.FoundUser{Subject: record.Key{1, 2}, User: gatebook.User{ID: "1", Name: "Ada 🦊", Email: "ada@example.com", Image: "i", EmailVerified: at}},
	}
	extra := full
	extra.User.Extra = map[string]any{"s": "", "n": int64(math.MinInt64), "big": int64(math.MaxInt64), "f": 0.1, "b": false, "x": []byte{}, "y": []byte{0, 255}, "t": at, "l": at.Local(), "null": nil}
	empty := full
	empty.User.Extra = map[string]any{}
	return []gatebook.FoundSession{{}, full, extra, empty}
}

func TestSeal(t *testing.T) {
	s := seal(t)
	for _, row := range rows() {
		value, err := s.Close("name", row, at)
		if err != nil {
			t.Errorf("Close(%+v): %v", row, err)
			continue
		}
		got, read, err := s.Open("name", value)
		if err != nil || !reflect.DeepEqual(got, row) || !read.Equal(at) {
			t.Errorf("Open(Close(%#v)) = %#v, %v, %v", row, got, read, err)
		}
		if again, _ := s.Close("name", row, at); again == value {
			t.Error("the same row is sealed twice alike")
		}
		other, err := redis.NewSeal("b00c0000-0000-4000-8000-000000000000", append([]byte{1}, key[1:]...))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := other.Open("name", value); err == nil {
			t.Error("another book opens it")
		}
		if _, _, err := s.Open("another name", value); err == nil {
			t.Error("it opens under another name")
		}
	}
	if a, b := s.Name("a token"), s.Name("another"); a == b || a != s.Name("a token") {
		t.Errorf("names %q and %q", a, b)
	}
}

// What does not come back as it was is refused.
func TestUnfaithful(t *testing.T) {
	for _, v := range []any{int(1), float32(1), math.NaN(), math.Inf(1), "\xff", []string{"a"}, map[string]any{}, struct{}{}, []byte(nil),
		time.Date(2031, 1, 1, 0, 0, 0, 0, time.FixedZone("somewhere", 3601)), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)} {
		row := rows()[1]
		row.User.Extra = map[string]any{"v": v}
		if value, err := seal(t).Close("name", row, at); err == nil {
			got, _, _ := seal(t).Open("name", value)
			t.Errorf("Close with %#v succeeds, and Open gives %#v", v, got.User.Extra["v"])
		}
	}
}

// FuzzOpen changes sealed values: what opens is the row that was sealed.
func FuzzOpen(f *testing.F) {
	s := seal(f)
	good, err := s.Close("name", rows()[2], at)
	if err != nil {
		f.Fatal(err)
	}
	for _, value := range []string{"", "L", "\x01", good, good[:33], good[:len(good)-1], good + "x", "\x02" + good[1:]} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		row, _, err := s.Open("name", value)
		if err == nil && !reflect.DeepEqual(row, rows()[2]) || err != nil && value == good {
			t.Errorf("Open(%q) = %+v, %v", value, row, err)
		}
		if err != nil && !reflect.DeepEqual(row, gatebook.FoundSession{}) {
			t.Errorf("Open failed, and returned %+v", row)
		}
	})
}

// FuzzDecode decodes what another version may have sealed: it is refused, or
// encodes to the same row again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"at":1,"leasedAt":2,"session":{"Handle":"h","UserID":"1","Expires":"2031-03-09T07:05:03.217Z"},"user":{"ID":"1"},"subject":"AAAAAAAAAAAAAAAAAAAAAA"}`))
	f.Add([]byte(`{"extra":{"a":{"s":"x"},"b":{"n":1},"c":{"f":1e3},"d":{"b":true},"e":{"x":"AA=="},"f":{"t":"2031-03-09T07:05:03Z"},"g":{}}}`))
	f.Add([]byte(`{"session":{"Token":"x"},"user":{"Extra":{"a":1}}}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, text []byte) {
		row, err := redis.Decode(text)
		if err != nil {
			return
		}
		if row.Session.Token != "" {
			t.Errorf("Decode(%q) has a token", text)
		}
		s := seal(t)
		value, err := s.Close("name", row, at)
		if err != nil {
			return // such a row is never sealed
		}
		if again, _, err := s.Open("name", value); err != nil || !reflect.DeepEqual(again, row) {
			t.Errorf("Decode(%q) = %#v, and then %#v, %v", text, row, again, err)
		}
	})
}

func Example() {
	ctx := context.Background()
	db := memory.New() // a real program: postgres.Open, mysql.Open
	cache, err := redis.Open(db, "redis://localhost:6379", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()

	// Give cache to gatebook.Config.Adapter. It is the adapter that it was given,
	// whether Redis is there or not.
	ada := gatebook.User{ID: "1", Name: "Ada", Email: "ada@example.com"}
	err = cache.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{
		gatebook.CreateUser{User: ada, Subject: record.NewKey()},
		gatebook.CreateSession{Session: gatebook.StoredSession{
			Token: "secret", UserID: ada.ID, Expires: time.Now().Add(time.Hour),
		}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	found, err := cache.Session(ctx, "secret")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(found.User.Name, found.User.Email)
	// Output: Ada ada@example.com
}
