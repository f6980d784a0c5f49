package claims_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/internal/claims"
)

// The claims of a session token of Auth.js: 7 members.
const session = `{"name":"Ada","email":"ada@example.com","picture":"https://img.test/a.png","sub":"42",` +
	`"iat":1700000000,"exp":4102444800,"jti":"00000000-0000-4000-8000-000000000000"}`

// The same with longer values: 217 bytes.
const longSession = `{"name":"Ada of the examples","email":"ada@example.com","picture":"https://img.test/ada.png",` +
	`"sub":"9f1c2d3e-4b5a-4c7d-8e9f-0a1b2c3d4e5f","iat":1700000000,"exp":4102444800,"jti":"00000000-0000-4000-8000-000000000000"}`

func parse(tb testing.TB, text string) claims.Object {
	tb.Helper()
	o, err := claims.Parse([]byte(text))
	if err != nil {
		tb.Fatalf("Parse(%s): %v", text, err)
	}
	return o
}

func text(o claims.Object) string { return string(o.Append(nil)) }

func TestParseKeepsOrderAndSpelling(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"session", session, session},
		{"empty", `{}`, `{}`},
		{"white space", " {\r\n\t\"b\" : [ 1 , { \"x\" : \" y \\\" \" } ] , \"a\":null } \n", `{"b":[1,{"x":" y \" "}],"a":null}`},
		{"duplicate", `{"a":1,"b":2,"a":3}`, `{"a":3,"b":2}`},
		{"duplicate by escape", `{"a":1,"b":2,"\u0061":3}`, `{"a":3,"b":2}`},
		{"numbers", `{"a":1.0,"b":-0,"c":1E+2,"d":12345678901234567890}`, `{"a":1.0,"b":-0,"c":1E+2,"d":12345678901234567890}`},
		{"empty name", `{"":1}`, `{"":1}`},
		{"escaped name", `{"\u00e9\n<":1}`, `{"é\n<":1}`},
		{"half a surrogate pair in a value", `{"a":"\ud800"}`, `{"a":"\ud800"}`},
		{"nesting at the limit", `{"a":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`, `{"a":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := text(parse(t, tt.in)); got != tt.want {
				t.Errorf("Parse(%s) writes %s, want %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestParseManyMembers(t *testing.T) {
	var in, want strings.Builder
	for i := range 500 {
		fmt.Fprintf(&in, `,"m%d":0`, i)
		fmt.Fprintf(&want, `,"m%d":%d`, i, i)
	}
	for i := range 500 {
		fmt.Fprintf(&in, `,"m%d":%d`, i, i)
	}
	o := parse(t, "{"+in.String()[1:]+"}")
	if got := text(o); got != "{"+want.String()[1:]+"}" {
		t.Errorf("500 members, each twice, write %s", got)
	}
	if o.Len() != 500 {
		t.Errorf("Len = %d, want 500", o.Len())
	}
}

func TestParseErrors(t *testing.T) {
	for _, in := range []string{
		``, ` `, `null`, `1`, `"x"`, `[]`, `[{}]`, `{`, `}`, `{}}`, `{} {}`, `{}x`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`,
		`{a:1}`, `{'a':1}`, `{"a":'x'}`, `{"a":1 "b":2}`, `{"a":01}`, `{"a":+1}`, `{"a":-}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`,
		`{"a":0x1}`, `{"a":NaN}`, `{"a":tru}`, `{"a":True}`, `{"a":nulll}`, `{"a":"x}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\u12`,
		"{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", "{\"a\":\"\xff\"}", "{\"\xc3\":1}", `{"a":[}`, `{"a":[1,]}`, `{"a":{"b":1]}`, `{"a":[1}`,
		"\ufeff{}", `{"a":1}//`, "{\"a\":\v1}", `{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`,
		strings.Repeat(`{"a":`, 100000), `{"a":` + strings.Repeat("[", 100000),
	} {
		o, err := claims.Parse([]byte(in))
		if !errors.Is(err, claims.ErrSyntax) || o.Len() != 0 {
			t.Errorf("Parse(%.60q) = %s, %v, want ErrSyntax", in, text(o), err)
		}
	}
}

func TestString(t *testing.T) {
	o := parse(t, `{"s":"x","e":"\u00e9\n\ud83d\ude00","h":"\ud800","z":"","n":1,"null":null,"o":{}}`)
	tests := []struct {
		name, want string
		ok         bool
	}{
		{"s", "x", true}, {"e", "é\n😀", true}, {"h", "\uFFFD", true}, {"z", "", true},
		{"n", "", false}, {"null", "", false}, {"o", "", false}, {"absent", "", false}, {"S", "", false},
	}
	for _, tt := range tests {
		if got, ok := o.String(tt.name); got != tt.want || ok != tt.ok {
			t.Errorf("String(%q) = %q, %t, want %q, %t", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestInt64(t *testing.T) {
	tests := []struct {
		raw  string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"-0", 0, true}, {"1700000000", 1700000000, true}, {"-5", -5, true},
		{"9223372036854775807", math.MaxInt64, true}, {"-9223372036854775808", math.MinInt64, true},
		{"1.0", 1, true}, {"1.7e9", 1700000000, true}, {"-2E+2", -200, true}, {"9007199254740992.0", 1 << 53, true},
		{"9223372036854775808", 0, false}, {"1.5", 0, false}, {"1e-1", 0, false}, {"1e300", 0, false}, {"1e999", 0, false},
		{"9007199254740994.0", 0, false}, {`"1"`, 0, false}, {"null", 0, false}, {"true", 0, false}, {"[1]", 0, false},
	}
	for _, tt := range tests {
		o := parse(t, `{"n":`+tt.raw+`}`)
		if got, ok := o.Int64("n"); got != tt.want || ok != tt.ok {
			t.Errorf("Int64 of %s = %d, %t, want %d, %t", tt.raw, got, ok, tt.want, tt.ok)
		}
	}
	var o claims.Object
	if _, ok := o.Int64("absent"); ok {
		t.Error("Int64 of an absent member is true")
	}
}

func TestGetDoesNotLendItsNeighbours(t *testing.T) {
	o := parse(t, `{"a":1,"b":2}`)
	raw, ok := o.Get("a")
	if !ok || string(raw) != "1" {
		t.Fatalf("Get(a) = %s, %t", raw, ok)
	}
	_ = append(raw, "23456789"...)
	if got := text(o); got != `{"a":1,"b":2}` {
		t.Errorf("after an append to what Get returned, the object is %s", got)
	}
	if raw, ok := o.Get("c"); ok || raw != nil {
		t.Errorf("Get of an absent member = %s, %t", raw, ok)
	}
}

func TestChanges(t *testing.T) {
	o := parse(t, `{"a":1,"b":2,"c":3}`)
	o.SetString("b", "x</script>&\u2028")
	o.SetInt64("d", -7)
	if err := o.Set("e", map[string]any{"z": []int{1}, "a": nil}); err != nil {
		t.Fatal(err)
	}
	if err := o.SetRaw("a", json.RawMessage(" [ 1, \"[ ] \" ]\n")); err != nil {
		t.Fatal(err)
	}
	o.Delete("c")
	o.Delete("absent")
	const want = `{"a":[1,"[ ] "],"b":"x</script>&` + "\u2028" + `","d":-7,"e":{"a":null,"z":[1]}}`
	if got := text(o); got != want {
		t.Errorf("object = %s, want %s", got, want)
	}
	if got, want := slices.Collect(o.Names()), []string{"a", "b", "d", "e"}; !slices.Equal(got, want) {
		t.Errorf("Names = %q, want %q", got, want)
	}
	for range o.Names() {
		break // must not go on
	}
}

func TestTexts(t *testing.T) {
	long := strings.Repeat("long ", 100)
	o, err := claims.Parse([]byte(`{"a":"one","b":2,"c":"\u00e9\ud800","d":"` + long + `","e":""}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{nil, {"a"}, {"a", "b", "none", "c", "e"}, {"d", "a", "d"}} {
		got := make([]string, len(names))
		o.Texts(got, names...)
		for i, name := range names {
			if want, _ := o.String(name); got[i] != want {
				t.Errorf("Texts of %q gives %q for %s, want %q", names, got[i], name, want)
			}
		}
	}
}

func TestAppendWith(t *testing.T) {
	one, two := claims.Member{Name: "a", Value: []byte(`[1]`)}, claims.Member{Name: "n\"", Value: []byte(`null`)}
	for _, text := range []string{`{}`, `{"a":0}`, `{"b": [1, 2],"a":{}}`, `{"a":1,"n\"":2,"c":3}`} {
		for _, with := range [][]claims.Member{nil, {one}, {two}, {one, two}, {two, one}} {
			o, err := claims.Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			got, before := string(o.AppendWith([]byte("x"), with...)), string(o.Append(nil))
			changed := o.Clone()
			for _, m := range with {
				if err := changed.SetRaw(m.Name, m.Value); err != nil {
					t.Fatal(err)
				}
			}
			if want := "x" + string(changed.Append(nil)); got != want {
				t.Errorf("%s with %d others is appended as %s, want %s", text, len(with), got, want)
			}
			if after := string(o.Append(nil)); after != before {
				t.Errorf("AppendWith made %s of %s", after, before)
			}
		}
	}
}

func TestOf(t *testing.T) {
	o := claims.Of(claims.Member{Name: "user", Value: []byte(`{"name":null}`)}, claims.Member{Name: "n", Value: []byte(`1`)})
	if got := string(o.Append(nil)); got != `{"user":{"name":null},"n":1}` {
		t.Errorf("Of gives %s", got)
	}
	if n, ok := o.Int64("n"); n != 1 || !ok {
		t.Errorf("Int64 = %d, %t", n, ok)
	}
}

func TestAppendMember(t *testing.T) {
	o, err := claims.Parse([]byte(`{"a": {"b": [1, 2]},"c":"x y"}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": `={"b":[1,2]}`, "c": `="x y"`, "none": "="} {
		got, ok := o.AppendMember([]byte("="), name)
		if string(got) != want || ok != (name != "none") {
			t.Errorf("AppendMember(%q) = %s, %t, want %s", name, got, ok, want)
		}
	}
}

func TestFailedChangesLeaveTheObject(t *testing.T) {
	o := parse(t, `{"a":1}`)
	for _, raw := range []string{``, ` `, `1,"admin":true`, `1}`, `{`, "\"\xff\"", `nan`, strings.Repeat("[", 32) + strings.Repeat("]", 32)} {
		if err := o.SetRaw("a", json.RawMessage(raw)); !errors.Is(err, claims.ErrSyntax) {
			t.Errorf("SetRaw(%q) = %v, want ErrSyntax", raw, err)
		}
	}
	if err := o.Set("a", math.NaN()); err == nil {
		t.Error("Set of NaN succeeds")
	}
	if err := o.Set("b", make(chan int)); err == nil {
		t.Error("Set of a channel succeeds")
	}
	if got := text(o); got != `{"a":1}` {
		t.Errorf("object = %s, want it unchanged", got)
	}
}

func TestSetRawCopies(t *testing.T) {
	raw := json.RawMessage(`"one"`)
	var o claims.Object
	if err := o.SetRaw("a", raw); err != nil {
		t.Fatal(err)
	}
	copy(raw, `"two"`)
	if got := text(o); got != `{"a":"one"}` {
		t.Errorf("object = %s, want it to keep its own copy", got)
	}
}

func TestClone(t *testing.T) {
	b := []byte(`{"a": [1, 2], "b":"x"}`)
	o, err := claims.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	c := o.Clone()
	o.SetInt64("a", 5)
	o.Delete("b")
	c.SetInt64("c", 1)
	if got := text(o); got != `{"a":5}` {
		t.Errorf("origin = %s after changes to its clone", got)
	}
	for i := range b {
		b[i] = '#'
	}
	if got := text(c); got != `{"a":[1,2],"b":"x","c":1}` {
		t.Errorf("clone = %s after changes to its origin", got)
	}
	if zero := (claims.Object{}).Clone(); text(zero) != `{}` {
		t.Errorf("clone of the zero object = %s", text(zero))
	}
}

func TestDeleteKeepsCopiesWhole(t *testing.T) {
	o := parse(t, `{"a":1,"b":2,"c":3}`)
	c := o
	o.Delete("a")
	if got := text(c); got != `{"a":1,"b":2,"c":3}` {
		t.Errorf("copy = %s after Delete", got)
	}
}

func TestJSONInterfaces(t *testing.T) {
	type answer struct {
		User  claims.Object  `json:"user"`
		Other *claims.Object `json:"other"`
	}
	in := `{"user":{"z":1,"a":{"y":2,"b":3}},"other":null}`
	b := []byte(in)
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = '#' // json.Unmarshaler: what is kept must be copied
	}
	got, err := json.Marshal(a)
	if err != nil || string(got) != in {
		t.Errorf("Marshal(Unmarshal(%s)) = %s, %v", in, got, err)
	}
	if err := json.Unmarshal([]byte(`{"user":null}`), &a); err != nil || a.User.Len() != 2 {
		t.Errorf("Unmarshal of null = %v, object %s, want it as it was", err, text(a.User))
	}
	if err := json.Unmarshal([]byte(`{"user":[]}`), &a); !errors.Is(err, claims.ErrSyntax) {
		t.Errorf("Unmarshal of an array = %v, want ErrSyntax", err)
	}
}

// The right-hand sides are what JSON.stringify gives in ECMAScript.
func TestAppendString(t *testing.T) {
	for in, want := range map[string]string{
		"":                     `""`,
		"plain":                `"plain"`,
		"\"\\/":                `"\"\\/"`,
		"\b\t\n\f\r":           `"\b\t\n\f\r"`,
		"\x00\x01\x0b\x1f\x7f": `"\u0000\u0001\u000b\u001f` + "\x7f" + `"`,
		"<a>&'":                `"<a>&'"`,
		"\u2028\u2029":         "\"\u2028\u2029\"",
		"é😀\u00a0\ufeff":       "\"é😀\u00a0\ufeff\"",
		"a\xffb\xc3":           "\"a\uFFFDb\uFFFD\"",
		"\xf0\x9f\x98":         "\"\uFFFD\uFFFD\uFFFD\"",
		"\xed\xa0\x80":         "\"\uFFFD\uFFFD\uFFFD\"",
		"\uFFFD":               "\"\uFFFD\"",
	} {
		if got := string(claims.AppendString([]byte("x"), in)); got != "x"+want {
			t.Errorf("AppendString(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestAppendValue(t *testing.T) {
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"nil", nil, `null`},
		{"string", "<\u2028>", "\"<\u2028>\""},
		{"bool", true, `true`},
		{"int", -3, `-3`},
		{"int64", int64(math.MaxInt64), `9223372036854775807`},
		{"float", 1.5, `1.5`},
		{"large float", 1e21, `1e+21`},
		{"map", map[string]any{"b": "<&>", "a": 1}, `{"a":1,"b":"<&>"}`},
		{"line separators", []string{"\u2028", "\u2029"}, "[\"\u2028\",\"\u2029\"]"},
		{"backslashes before u2028", []string{`\u2028`, `\\u2029`, "\\\u2028"}, `["\\u2028","\\\\u2029","\\` + "\u2028" + `"]`},
		{"struct", struct {
			A string `json:"a,omitempty"`
			B *int   `json:"b"`
		}{}, `{"b":null}`},
		{"raw", json.RawMessage(` {"b": 1, "a":"<"} `), `{"b":1,"a":"<"}`},
		{"object", parse(t, `{"z":1,"a":"<"}`), `{"z":1,"a":"<"}`},
		{"object inside", map[string]any{"o": parse(t, `{"z":"<","a":2}`)}, `{"o":{"z":"<","a":2}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := claims.AppendValue([]byte("x"), tt.in)
			if err != nil || string(got) != "x"+tt.want {
				t.Errorf("AppendValue = %s, %v, want x%s", got, err, tt.want)
			}
		})
	}
	if got, err := claims.AppendValue([]byte("x"), math.Inf(1)); err == nil || got != nil {
		t.Errorf("AppendValue(+Inf) = %s, %v, want an error", got, err)
	}
}

func TestAllocations(t *testing.T) {
	b := []byte(session)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := claims.Parse(b); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("Parse allocates %v times, want at most 2", n)
	}
	o, buf := parse(t, session), make([]byte, 0, 512)
	if n := testing.AllocsPerRun(1000, func() { o.Append(buf) }); n > 0 {
		t.Errorf("Append allocates %v times, want none", n)
	}
}

// The accepted texts are the objects encoding/json accepts, less invalid UTF-8
// and deep nesting, and mean the same; written and read again they do not change.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		session, `{}`, ` { "a" : [ 1.5e3 , true, null ] , "a":"\u00e9\ud83d\ude00\\" } `, `{"user":{"name":"x"},"expires":"y"}`,
		`[]`, `{"a":1,}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.Clone(b)
		o, err := claims.Parse(b)
		if err != nil {
			if o.Len() != 0 {
				t.Fatalf("Parse = %s beside %v", text(o), err)
			}
			if strings.Contains(err.Error(), "UTF-8") || strings.Contains(err.Error(), "deep") {
				return
			}
			var m map[string]json.RawMessage
			if err := json.Unmarshal(in, &m); err == nil && m != nil {
				t.Fatalf("Parse(%q) = %v, but encoding/json accepts it", in, err)
			}
			return
		}
		out := o.Append(nil)
		if !bytes.Equal(b, in) {
			t.Fatalf("Parse changed its input to %q", b)
		}
		var want, got map[string]json.RawMessage
		if err := json.Unmarshal(in, &want); err != nil {
			t.Fatalf("Parse accepts %q, encoding/json: %v", in, err)
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("Append = %q, encoding/json: %v", out, err)
		}
		for _, m := range []map[string]json.RawMessage{want, got} {
			for name, raw := range m {
				var compact bytes.Buffer
				if err := json.Compact(&compact, raw); err != nil {
					t.Fatal(err)
				}
				m[name] = compact.Bytes()
			}
		}
		if !maps.EqualFunc(want, got, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Fatalf("Parse(%q) wrote %q", in, out)
		}
		if o.Len() != len(want) {
			t.Fatalf("Len = %d, want %d", o.Len(), len(want))
		}
		again, err := claims.Parse(out)
		if err != nil || text(again) != string(out) {
			t.Fatalf("Parse(%q) = %s, %v, want it unchanged", out, text(again), err)
		}
		if c := o.Clone(); text(c) != string(out) {
			t.Fatalf("clone = %s, want %s", text(c), out)
		}
		for name := range o.Names() {
			raw, ok := o.Get(name)
			if !ok {
				t.Fatalf("Get(%q) finds nothing", name)
			}
			var s any
			if err := json.Unmarshal(raw, &s); err != nil {
				continue // a number beyond float64
			}
			wantString, isString := s.(string)
			if got, ok := o.String(name); got != wantString || ok != isString {
				t.Fatalf("String(%q) = %q, %t, want %q, %t", name, got, ok, wantString, isString)
			}
			var n int64
			if json.Unmarshal(raw, &n) == nil && string(raw) != "null" {
				if got, ok := o.Int64(name); got != n || !ok {
					t.Fatalf("Int64(%q) = %d, %t, want %d", name, got, ok, n)
				}
			}
		}
	})
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "Ada", "<\u2028>\\\"", "\x00\x1f\x7f\xff", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := claims.AppendString(nil, s)
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("AppendString(%q) = %q: %v", s, got, err)
		}
		if want := string([]rune(s)); back != want {
			t.Fatalf("AppendString(%q) reads as %q, want %q", s, back, want)
		}
		// Through encoding/json and back to the raw separators: the same bytes.
		viaMap, err := claims.AppendValue(nil, []string{s})
		if err != nil || string(viaMap) != "["+string(got)+"]" {
			t.Fatalf("AppendValue([]string{%q}) = %q, %v, want [%s]", s, viaMap, err, got)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := []byte(longSession)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, err := claims.Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseMapForComparison(b *testing.B) {
	in := []byte(longSession)
	b.ReportAllocs()
	for b.Loop() {
		var m map[string]any
		if err := json.Unmarshal(in, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	o, buf := parse(b, session), make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		o.Append(buf)
	}
}

// A renewal: three claims replaced in place.
func BenchmarkSet(b *testing.B) {
	o := parse(b, session)
	b.ReportAllocs()
	for b.Loop() {
		o.SetInt64("iat", 1700000001)
		o.SetInt64("exp", 4102444801)
		o.SetString("jti", "00000000-0000-4000-8000-000000000001")
	}
}

func ExampleObject() {
	o, err := claims.Parse([]byte(`{"name":"Ada","sub":"42","exp":1700000000}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	o.SetInt64("exp", 1700003600)
	o.SetString("role", "R&D")
	sub, _ := o.String("sub")
	fmt.Println(sub)
	fmt.Println(string(o.Append(nil)))
	// Output:
	// 42
	// {"name":"Ada","sub":"42","exp":1700003600,"role":"R&D"}
}
