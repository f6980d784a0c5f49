package userfile_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook/cmd/gatebook/internal/userfile"
)

// read returns the users of a text, a line each, and the errors.
func read(text, format string, o userfile.Options) string {
	var b strings.Builder
	for row, err := range userfile.Read(strings.NewReader(text), format, o) {
		if err != nil {
			fmt.Fprintf(&b, "END %v\n", err)
			continue
		}
		if row.Err != nil {
			fmt.Fprintf(&b, "%d BAD %v\n", row.Line, row.Err)
			continue
		}
		u := row.User
		fmt.Fprintf(&b, "%d %s|%s|%s|%s|%s|%v", row.Line, u.ID, u.Name, u.Email, stamp(u.EmailVerified), u.Image, u.Extra)
		for _, a := range row.Accounts {
			fmt.Fprintf(&b, " %s:%s:%s:%s:%d", a.Provider, a.ProviderAccountID, a.Type, string(a.AccessToken), a.ExpiresAt)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

func TestCSV(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		o          userfile.Options
		want       string
	}{
		{"users", "id,name,email,emailVerified,image\n1,Ada,ada@example.com,2024-05-06T07:08:09.123Z,https://i.example/a\n2,,,,\n", userfile.Options{},
			"2 1|Ada|ada@example.com|2024-05-06T07:08:09.123Z|https://i.example/a|map[]\n3 2||||" + "|map[]\n"},
		{"several accounts", "id,email,provider,providerAccountId,type,access_token,expires_at\r\n1,a@example.com,github,7,oauth,at,2592000\r\n1,A@example.com,google,8,oidc,,\r\n2,b@example.com,,,,,\r\n", userfile.Options{},
			"2 1||a@example.com|||map[] github:7:oauth:at:2592000 google:8:oidc::0\n4 2||b@example.com|||map[]\n"},
		{"without id, by address", "email,provider,providerAccountId,type\na@x.example,p,1,oidc\nA@x.example,p,2,oidc\nb@x.example,p,3,oidc\n", userfile.Options{},
			"2 ||a@x.example|||map[] p:1:oidc::0 p:2:oidc::0\n4 ||b@x.example|||map[] p:3:oidc::0\n"},
		{"neither id nor address is nobody's", "email,provider,providerAccountId,type\n,p,1,oidc\n,p,2,oidc\n", userfile.Options{},
			"2 ||||" + "|map[] p:1:oidc::0\n3 ||||" + "|map[] p:2:oidc::0\n"},
		{"semicolons, BOM, NULL, lines in quotes", "\ufeffid;name\n1;\"Ada\nLovelace\"\n2;\\N\n", userfile.Options{},
			"2 1|Ada\nLovelace||||map[]\n4 2|||||map[]\n"},
		{"tabs", "id\tname\n1\tAda, Countess\n", userfile.Options{}, "2 1|Ada, Countess||||map[]\n"},
		{"extra and ignored", "id,plan,junk\n1,pro,x\n", userfile.Options{Extra: []string{"plan"}, Ignore: []string{"junk"}}, "2 1|||||map[plan:pro]\n"},
		{"bad rows", "id,emailVerified,expires_at\n1,yesterday,\n2,,soon\n3\n4,2024-05-06 07:08:09+02,\n5,1714979289123,\n6,1714979289,\n", userfile.Options{},
			`2 BAD emailVerified "yesterday" is no time: write it as 2026-11-24T10:00:00Z, or in milliseconds since 1970
3 BAD expires_at "soon" is no number of seconds since 1970
4 BAD it has 1 fields, and the header 3
5 4|||2024-05-06T05:08:09Z||map[]
6 5|||2024-05-06T07:08:09.123Z||map[]
7 BAD emailVerified "1714979289" is no time: write it as 2026-11-24T10:00:00Z, or in milliseconds since 1970
`},
		{"a token in the wrong column", "id,expires_at\n1,gho_0123456789abcdefghijABCDEFGHIJ012345\n", userfile.Options{},
			"2 BAD expires_at \"gho_0123456789abcdefghij…\" is no number of seconds since 1970\n"},
		{"two that do not agree", "id,name,provider,providerAccountId,type\n1,Ada,p,1,oidc\n1,Eve,p,2,oidc\n2,Bea,p,3,oidc\n", userfile.Options{},
			"2 BAD line 3 has the same user with other values\n4 2|Bea||||map[] p:3:oidc::0\n"},
		{"a bad second row", "id,emailVerified\n1,\n1,never\n", userfile.Options{},
			"2 BAD its row in line 3: emailVerified \"never\" is no time: write it as 2026-11-24T10:00:00Z, or in milliseconds since 1970\n"},
		{"unknown columns", "id,emial,Email_Verified,shoesize\n1,,,\n", userfile.Options{},
			`END line 1: unknown column "emial"; did you mean email? To leave it out: --ignore emial
line 1: unknown column "Email_Verified"; did you mean emailVerified? To leave it out: --ignore Email_Verified
line 1: unknown column "shoesize"; the columns are id, name, email, emailVerified, image, provider, providerAccountId, type, access_token, refresh_token, id_token, expires_at, token_type, scope, session_state. To leave it out: --ignore shoesize
`},
		{"no header", "1,Ada,ada@example.com\n", userfile.Options{}, "END line 1: it names no columns: it must be a header such as id,name,email,emailVerified,image,provider,providerAccountId,type\n"},
		{"nobody", "name,image\n", userfile.Options{}, "END line 1: there is neither a column id, email nor providerAccountId: nobody could be told apart\n"},
		{"twice", "id,id\n", userfile.Options{}, "END line 1: the column \"id\" is there twice\n"},
		{"empty", "", userfile.Options{}, "END line 1: the file is empty: its first line must name the columns\n"},
		{"broken quotes", "id,name\n1,Ada\n2,\"Gra\"ce\n3,x\n", userfile.Options{},
			"2 1|Ada||||map[]\nEND line 3, column 7: extraneous or missing \" in quoted-field: what follows cannot be told apart\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, read(tt.text, userfile.CSV, tt.o)); diff != "" {
				t.Errorf("Read (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		o          userfile.Options
		want       string
	}{
		{"array", `[
  {"id": "1", "name": "Ada", "email": "ada@example.com", "emailVerified": "2024-05-06T07:08:09.123Z", "image": null,
   "accounts": [{"id": "x", "userId": "1", "provider": "github", "providerAccountId": 7, "type": "oauth", "access_token": "at", "expires_at": 2592000}]},

  {"id": 2, "emailVerified": 1714979289123}
]
`, userfile.Options{}, "2 1|Ada|ada@example.com|2024-05-06T07:08:09.123Z||map[] github:7:oauth:at:2592000\n5 2|||2024-05-06T07:08:09.123Z||map[]\n"},
		{"lines", "{\"id\":\"1\"}\n{\"id\":\"2\"}\n\n{\"id\":\"3\"}", userfile.Options{}, "1 1|||||map[]\n2 2|||||map[]\n4 3|||||map[]\n"},
		{"empty array", "[]", userfile.Options{}, ""},
		{"halves of characters", `[{"id":"\ud800"},{"id":"\udBFF"},{"id":"a\ufffd","name":"\ud83d\ude00"},{"accounts":[{"providerAccountId":"1\udc00\ufffd"}]}]`,
			userfile.Options{}, `1 BAD id has half of a character, as \ud800 is
1 BAD id has half of a character, as \ud800 is
1 a�|😀||||map[]
1 BAD providerAccountId has half of a character, as \ud800 is
`},
		{"extra", `{"id":"1","plan":"pro","seats":12,"ok":true,"x":null}`, userfile.Options{Extra: []string{"plan", "seats", "ok", "x"}}, "1 1|||||map[ok:true plan:pro seats:12]\n"},
		{"bad users", "{\"id\":{}}\n{\"id\":\"1\",\"id\":\"2\"}\n{\"id\":\"3\",\"accounts\":5}\n{\"id\":\"4\",\"accounts\":[5]}\n{\"id\":\"5\",\"emailVerified\":true}\n{\"id\":\"\xff\"}\n[]\n{\"id\":\"7\"}", userfile.Options{},
			`1 BAD id is neither a text, a number nor null
2 BAD "id" is there twice
3 BAD accounts is no list of objects
4 BAD accounts: it is no object
5 BAD emailVerified is neither a text, a number nor null
6 BAD it is no UTF-8
7 BAD it is no object
8 7|||||map[]
`},
		{"unknown keys", "[\n{\"id\":\"1\",\"emial\":\"x\",\"shoe\":1}]", userfile.Options{},
			"END line 2: unknown key \"emial\"; did you mean email? To leave it out: --ignore emial\nline 2: unknown key \"shoe\"; the keys are id, name, email, emailVerified, image, accounts. To leave it out: --ignore shoe\n"},
		{"unknown keys of an account", `[{"accounts":[{"provider":"p","accountId":"1"}]}]`, userfile.Options{},
			"END line 1: unknown key \"accountId\"; the keys are provider, providerAccountId, type, access_token, refresh_token, id_token, expires_at, token_type, scope, session_state. To leave it out: --ignore accountId\n"},
		{"broken", "{\"id\":\"1\"}\n{\"id\":\"2\"\n{\"id\":\"3\"}\n", userfile.Options{}, "1 1|||||map[]\nEND line 3: invalid character '{' after object key:value pair\n"},
		{"cut", "[{\"id\":\"1\"},\n{\"id\":", userfile.Options{}, "1 1|||||map[]\nEND line 2: the file ends within this user\n"},
		{"array not closed", "[{\"id\":\"1\"}\n", userfile.Options{}, "1 1|||||map[]\nEND the file ends within the array: its last line should be ]\n"},
		{"more after the array", "[{\"id\":\"1\"}]\n{}", userfile.Options{}, "1 1|||||map[]\nEND line 2: something follows after the array of users\n"},
		{"empty", " \n", userfile.Options{}, "END line 1: the file is empty\n"},
		{"text", "users", userfile.Options{}, "END line 1: it is neither an array of users nor one user after the other: it must begin with [ or {\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, read(tt.text, userfile.JSON, tt.o)); diff != "" {
				t.Errorf("Read (-want +got):\n%s", diff)
			}
		})
	}
}

// endless makes users without end.
type endless struct {
	next func(i int) string
	i    int
	rest string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.rest == "" {
		e.rest = e.next(e.i)
		e.i++
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// Memory does not grow with the file.
func TestFlat(t *testing.T) {
	for _, tt := range []struct {
		format string
		next   func(i int) string
	}{
		{userfile.CSV, func(i int) string {
			if i == 0 {
				return "id,name\n"
			}
			return fmt.Sprintf("%d,%s\n", i, strings.Repeat("n", 100))
		}},
		{userfile.JSON, func(i int) string { return fmt.Sprintf("{\"id\":%d,\"name\":%q}\n", i, strings.Repeat("n", 100)) }},
	} {
		var first, last runtime.MemStats
		n := 0
		for row, err := range userfile.Read(&endless{next: tt.next}, tt.format, userfile.Options{}) {
			if err != nil || row.Err != nil {
				t.Fatal(err, row.Err)
			}
			if n++; n == 10_000 {
				runtime.GC()
				runtime.ReadMemStats(&first)
			}
			if n == 200_000 {
				break
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&last)
		if grown := int64(last.HeapAlloc) - int64(first.HeapAlloc); grown > 1<<20 {
			t.Errorf("%s: the heap grew by %d bytes over 190,000 users of 110 bytes", tt.format, grown)
		}
	}
}

// One user without end is refused before memory is full.
func TestLongUser(t *testing.T) {
	for _, tt := range []struct{ format, begin, want string }{
		{userfile.JSON, `{"name":"`, "the user has more than 32 MB"},
		{userfile.CSV, "id,name\n1,Ada\n2,\"", "after line 2: a row has more than 32 MB: is a quote not closed?"},
		{userfile.CSV, "id,", "after line 1: a row has more than 32 MB"},
	} {
		wrong := ""
		e := &endless{next: func(i int) string {
			if i > 1<<10 {
				t.Fatalf("%s: 64 MB of a user were read", tt.format)
			}
			return strings.Repeat("n", 1<<16)
		}}
		for _, err := range userfile.Read(io.MultiReader(strings.NewReader(tt.begin), e), tt.format, userfile.Options{}) {
			if err != nil {
				wrong = err.Error()
			}
		}
		if !strings.Contains(wrong, tt.want) {
			t.Errorf("%s: Read = %q, want %q", tt.format, wrong, tt.want)
		}
	}
}

// FuzzRead: whatever a file holds, each user has a line of it, and reading again
// gives the same.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"id,name,email,emailVerified,image\n1,Ada,ada@example.com,2024-05-06T07:08:09.123Z,https://i.example/a\n",
		"id;provider;providerAccountId;type\n1;github;7;oauth\n1;google;8;oidc\n", "\ufeffid\n\"1\n2\"\n", "id,name\n2,\"Gra\"ce\n",
	} {
		f.Add([]byte(s), true)
	}
	for _, s := range []string{
		`[{"id":"1","accounts":[{"provider":"github","providerAccountId":7,"type":"oauth","expires_at":1}]},{"id":2}]`,
		"{\"id\":\"1\"}\n{\"email\":\"a@example.com\"}", `[{"id":"1"}]{}`, `{"id":{}}`,
	} {
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, csv bool) {
		format := userfile.JSON
		if csv {
			format = userfile.CSV
		}
		last, n := 1, strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+1
		for row, err := range userfile.Read(strings.NewReader(string(data)), format, userfile.Options{}) {
			if err != nil {
				continue
			}
			if row.Line < last || row.Line > n {
				t.Fatalf("a user in line %d, after one in %d, of %d", row.Line, last, n)
			}
			last = row.Line
		}
		if a, b := read(string(data), format, userfile.Options{}), read(string(data), format, userfile.Options{}); a != b {
			t.Fatalf("read twice:\n%s\n%s", a, b)
		}
	})
}
