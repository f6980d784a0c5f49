package redis_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/adapter/redis"
	"github.com/gatebook/gatebook/test/need"
)

// dump returns everything that Redis has.
func dump(t testing.TB, client rueidis.Client) string {
	t.Helper()
	var all strings.Builder
	for _, name := range keysLike(t, client, "*") {
		text, err := client.Do(t.Context(), client.B().Dump().Key(name).Build()).ToString()
		if rueidis.IsRedisNil(err) {
			continue // it expired since it was listed
		}
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(name + "\n" + text + "\n")
	}
	return all.String()
}

// TestNothingToRead looks for what who reads Redis should not find.
func TestNothingToRead(t *testing.T) {
	address := need.Redis(t)
	db := memory.New()
	c := open(t, db, address)
	s := signedIn(t, db, "ada.lovelace")
	warm(t, c, s.Token)
	found, err := db.Session(t.Context(), s.Token)
	if err != nil {
		t.Fatal(err)
	}
	text := dump(t, raw(t, address))
	if !strings.Contains(text, ":s:") {
		t.Fatal("no session is there, so that this shows nothing")
	}
	for what, secret := range map[string]string{"token": string(s.Token), "name": "lovelace", "sid": s.ID, "handle": found.Session.Handle} {
		sum := sha256.Sum256([]byte(secret))
		for form, value := range map[string]string{"itself": secret, "in base64": base64.RawURLEncoding.EncodeToString([]byte(secret)),
			"its SHA-256": string(sum[:16]), "its SHA-256 in hex": hex.EncodeToString(sum[:16]),
			"its SHA-256 in base64": base64.RawURLEncoding.EncodeToString(sum[:16])} {
			if strings.Contains(text, value) {
				t.Errorf("Redis has the %s, %s", what, form)
			}
		}
	}
}

// set replaces what is under a name, for long.
func set(t testing.TB, client rueidis.Client, name, value string) {
	t.Helper()
	if err := client.Do(t.Context(), client.B().Set().Key(name).Value(value).ExSeconds(3600).Build()).Error(); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, client rueidis.Client, name string) string {
	t.Helper()
	value, err := client.Do(t.Context(), client.B().Get().Key(name).Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// filled reads a session until its row is in Redis, and returns where.
func filled(t testing.TB, c *redis.Cache, client rueidis.Client, token gatebook.Secret, but ...string) (name string) {
	t.Helper()
	within(t, 10*time.Second, "a row to be filled in", func() bool {
		warm(t, c, token)
		for _, n := range keys(t, client, "s") {
			if len(but) == 0 || n != but[0] {
				name = n
			}
		}
		return name != "" && get(t, client, name)[0] == 1
	})
	return name
}

// TestAnothersRow puts a row under the name of another's token: whoever can write
// Redis could so become anybody.
func TestAnothersRow(t *testing.T) {
	address := need.Redis(t)
	db := memory.New()
	c := open(t, db, address)
	client := raw(t, address)
	ada, mallory := signedIn(t, db, "ada"), signedIn(t, db, "mallory")
	hers := filled(t, c, client, ada.Token)
	his := filled(t, c, client, mallory.Token, hers)
	set(t, client, his, get(t, client, hers))
	for _, server := range []*redis.Cache{c, open(t, db, address)} {
		for range 5 {
			if found, err := server.Session(t.Context(), mallory.Token); err != nil || found.User.ID != "mallory" {
				t.Fatalf("Session = %+v, %v; want mallory's", found, err)
			}
		}
	}
}

// TestForged writes what is no row, or one that was changed, under a token's name.
func TestForged(t *testing.T) {
	address := need.Redis(t)
	db := memory.New()
	client := raw(t, address)
	c := open(t, db, address)
	s := signedIn(t, db, "ada")
	name := filled(t, c, client, s.Token)
	good := get(t, client, name)
	forged := map[string]string{"empty": "", "JSON": `{"user":{"id":"mallory"}}`, "short": good[:20], "cut": good[:len(good)-1], "longer": good + "x",
		"another version": "\x02" + good[1:], "a lease that nobody has": "L" + strings.Repeat("A", 26), "long": strings.Repeat("x", 1<<20)}
	for i := range good {
		if i%37 == 5 {
			forged["changed at "+string(rune('a'+i/37))] = good[:i] + string(good[i]^1) + good[i+1:]
		}
	}
	for what, value := range forged {
		set(t, client, name, value)
		for _, server := range []*redis.Cache{c, open(t, db, address)} {
			for range 3 {
				if found, err := server.Session(t.Context(), s.Token); err != nil || found.User.ID != "ada" {
					t.Fatalf("%s: Session = %+v, %v; want Ada's", what, found, err)
				}
			}
		}
		if after := get(t, client, name); after == value && !strings.HasPrefix(value, "L") {
			t.Errorf("%s: it is still there, and every read asks the database", what)
		}
	}
}

// TestWrongTypes makes the cache's keys something else.
func TestWrongTypes(t *testing.T) {
	address := need.Redis(t)
	db := memory.New()
	client := raw(t, address)
	c := open(t, db, address)
	s := signedIn(t, db, "ada")
	filled(t, c, client, s.Token)
	for _, name := range keysLike(t, client, "gatebook:*") {
		if err := client.DoMulti(t.Context(), client.B().Del().Key(name).Build(),
			client.B().Hset().Key(name).FieldValue().FieldValue("a", "b").Build())[1].Error(); err != nil {
			t.Fatal(err)
		}
	}
	reads(t, c, s, 100)
	deleteSession(t, c, s.Token)
	if !refused(t, c, s.Token) {
		t.Error("a session that was ended opens")
	}
}

// TestReplayed puts the row of a session that was ended back again and again: it
// opens the session for no longer than the cache is ever behind.
func TestReplayed(t *testing.T) {
	address := need.Redis(t)
	db := memory.New()
	client := raw(t, address)
	c := open(t, db, address)
	s := signedIn(t, db, "ada")
	name := filled(t, c, client, s.Token)
	value := get(t, client, name)
	read := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = client.Do(ctx, client.B().Set().Key(name).Value(value).ExSeconds(3600).Build()).Error()
			pause := time.NewTimer(time.Millisecond)
			<-pause.C
		}
	}()
	deleteSession(t, c, s.Token)
	other := open(t, db, address)
	within(t, oldest, "the row to be refused", func() bool { return refused(t, c, s.Token) && refused(t, other, s.Token) })
	// From then on never again.
	for time.Since(read) < oldest+time.Second {
		if !refused(t, c, s.Token) || !refused(t, other, s.Token) {
			if since := time.Since(read); since > oldest {
				t.Fatalf("it opens %v after it was read", since)
			}
		}
	}
	cancel()
	<-done
}

// TestACL uses Redis as the user that the README tells to make.
func TestACL(t *testing.T) {
	server := need.RedisServer(t)
	admin := raw(t, server.URL("0"))
	text, err := os.ReadFile(filepath.Join(need.Dir(), "..", "adapter", "redis", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile(`(?s)ACL SETUSER gatebook (.*?)\n` + "```").FindSubmatch(text)
	if rules == nil {
		t.Fatal("the README has no ACL SETUSER")
	}
	words := strings.Fields(strings.ReplaceAll(string(rules[1]), "\\\n", " "))
	user := func(words ...string) error {
		return admin.Do(t.Context(), admin.B().Arbitrary("ACL", "SETUSER", "gatebook").Args(words...).Build()).Error()
	}
	if err := user(append([]string{"reset", "on"}, words...)...); err != nil {
		t.Fatal(err)
	}
	address := "redis://gatebook:password@" + server.Addr() + "/0"
	db := &counting{Adapter: memory.New()}
	one, two := open(t, db, address), open(t, db, address)
	auth := site(t, one)
	run(t, auth)
	s := people(t, one, two)
	cachedAgain(t, one, db, s[0])
	for i := range s {
		warm(t, two, s[i].Token)
		if _, err := auth.RevokeSessions(t.Context(), s[i].UserID); err != nil {
			t.Fatal(err)
		}
		within(t, prompt, "the other server to refuse", func() bool { return refused(t, two, s[i].Token) })
	}
	log, err := admin.Do(t.Context(), admin.B().Arbitrary("ACL", "LOG").Build()).ToArray()
	if err != nil || len(log) > 0 {
		t.Errorf("Redis refused the user something: %v, %v", log, err)
	}
	// Every word is needed.
	for _, word := range words {
		if !strings.HasPrefix(word, "+") {
			continue
		}
		if err := user("-" + word[1:]); err != nil {
			t.Fatal(err)
		}
		c := unconnected(t, memory.New(), address)
		err := c.Ping(t.Context())
		switch word {
		case "+hello", "+client|tracking", "+client|caching", "+multi", "+cluster|slots", "+cluster|shards", "+ping", "+select", "+eval":
			// It works without, or needs it at other times.
		default:
			if err == nil {
				t.Errorf("Ping says nothing when the user lacks %s", word)
			}
		}
		signed := signedIn(t, c, "ada")
		reads(t, c, signed, 20)
		if strings.HasPrefix(word, "+client") || word == "+multi" || word == "+hello" {
			other := unconnected(t, c.Adapter, address)
			_ = other.Ping(t.Context())
			// What is dropped elsewhere is refused at once.
			again := signedIn(t, c, "grace")
			warm(t, c, again.Token)
			deleteSession(t, other, again.Token)
			within(t, prompt, "a server without "+word+" to refuse", func() bool { return refused(t, c, again.Token) })
		}
		if err := user(word); err != nil {
			t.Fatal(err)
		}
	}
}
