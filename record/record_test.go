package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatebook/gatebook/record"
)

// canonical is RFC 8785 over what encoding/json parsed: another way to the same
// bytes, with sorting in place of the order written down in Header.Append.
func canonical(t testing.TB, b []byte) []byte {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, b)
	}
	var out bytes.Buffer
	canonicalValue(&out, v)
	return out.Bytes()
}

func canonicalValue(out *bytes.Buffer, v any) {
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for n := range v {
			names = append(names, n)
		}
		slices.SortFunc(names, func(a, b string) int {
			return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
		})
		for i, n := range names {
			out.WriteString([]string{"{", ","}[min(i, 1)])
			canonicalValue(out, n)
			out.WriteByte(':')
			canonicalValue(out, v[n])
		}
		if len(names) == 0 {
			out.WriteByte('{')
		}
		out.WriteByte('}')
	case []any:
		out.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				out.WriteByte(',')
			}
			canonicalValue(out, e)
		}
		out.WriteByte(']')
	case string:
		out.WriteByte('"')
		short := map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
		for _, r := range v {
			switch {
			case short[r] != "":
				out.WriteString(short[r])
			case r < 0x20:
				fmt.Fprintf(out, `\u%04x`, r)
			default:
				out.WriteRune(r)
			}
		}
		out.WriteByte('"')
	case nil:
		out.WriteString("null")
	default: // a bool or a json.Number
		fmt.Fprint(out, v)
	}
}

func key() *rapid.Generator[record.Key] {
	return rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) record.Key { return record.Key(b) })
}

func header() *rapid.Generator[record.Header] {
	return rapid.Custom(func(t *rapid.T) record.Header {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching("[\\x00-\\x7f]{0,20}"), rapid.SampledFrom([]string{"", "\u2028\"\\/", "€\u007f\U0001F600", "\xff\xfe"}))
		need := rapid.StringN(1, 20, 60)
		h := record.Header{
			Book: text.Draw(t, "book"), ID: need.Draw(t, "id"), Type: need.Draw(t, "type"),
			TypeVersion: rapid.IntRange(1, 999_999_999).Draw(t, "typeVersion"),
			Source:      text.Draw(t, "source"), Tenant: text.Draw(t, "tenant"),
			Time: time.UnixMilli(rapid.Int64Range(-62_167_219_200_000, 253_402_300_799_999).Draw(t, "time")).UTC(),
			Act:  need.Draw(t, "act"), Position: rapid.IntRange(0, 1000).Draw(t, "position"),
			Cause: text.Draw(t, "cause"), Outcome: text.Draw(t, "outcome"), Reason: text.Draw(t, "reason"),
			Provider: text.Draw(t, "provider"), Method: text.Draw(t, "method"),
			ActorType: text.Draw(t, "actorType"), Actor: key().Draw(t, "actor"),
			Initiator: text.Draw(t, "initiator"), Subject: key().Draw(t, "subject"),
		}
		if h.Time.IsZero() {
			h.Time = h.Time.Add(time.Millisecond)
		}
		return h
	})
}

func blocks() *rapid.Generator[[]record.Block] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) record.Block {
		return record.Block{
			Class:   rapid.StringN(1, 10, 255).Draw(t, "class"),
			Subject: key().Draw(t, "subject"),
			Bytes:   rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes"),
		}
	}), 0, record.MaxBlocks)
}

func TestHeaderIsCanonical(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e, err := record.New(header().Draw(rt, "header"), blocks().Draw(rt, "blocks"), nil)
		if err != nil {
			rt.Fatal(err)
		}
		if want := canonical(t, e.Header); !bytes.Equal(e.Header, want) {
			rt.Fatalf("header is not canonical:\n got %s\nwant %s", e.Header, want)
		}
	})
}

// The string of RFC 8785, Section 3.2.2.
func TestHeaderStringOfRFC8785(t *testing.T) {
	h := record.Header{ID: "i", Type: "t", TypeVersion: 1, Act: "a", Time: time.UnixMilli(0), Reason: "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"/"}
	e, err := record.New(h, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"reason":"€$\u000f\nA'B\"\\\\\"/"`; !bytes.Contains(e.Header, []byte(want)) {
		t.Errorf("header %s does not contain %s", e.Header, want)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := header().Draw(rt, "header")
		bs := blocks().Draw(rt, "blocks")
		e, err := record.New(h, bs, nil)
		if err != nil {
			rt.Fatal(err)
		}
		got, err := record.ParseHeader(e.Header)
		if err != nil {
			rt.Fatalf("ParseHeader of what New sealed: %v\n%s", err, e.Header)
		}
		if again := got.Append(nil); !bytes.Equal(again, e.Header) {
			rt.Fatalf("encoded again:\n got %s\nwant %s", again, e.Header)
		}
		if !got.Time.Equal(h.Time) || got.Actor != h.Actor || got.Subject != h.Subject || len(got.Blocks) != len(bs) {
			rt.Fatalf("ParseHeader = %+v, want %+v", got, h)
		}
		for i, b := range bs {
			if r := got.Blocks[i]; r.Digest != b.Digest() || r.Subject != b.Subject {
				rt.Fatalf("block %d: header says %+v", i, r)
			}
		}
		packed, err := record.ParseBlocks(record.AppendBlocks(nil, bs))
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(bs, packed, cmp.Comparer(bytes.Equal)); diff != "" && len(bs) > 0 {
			rt.Fatalf("packed blocks (-want +got):\n%s", diff)
		}
	})
}

func TestParseHeaderRefuses(t *testing.T) {
	good := vector(t, "header")
	if _, err := record.ParseHeader([]byte(good)); err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		t.Helper()
		if strings.Count(good, old) == 0 {
			t.Fatalf("the vector has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for name, in := range map[string]string{
		"empty":                   "",
		"no object":               "[]",
		"null":                    "null",
		"cut":                     good[:len(good)-1],
		"trailing bytes":          good + " ",
		"second object":           good + good,
		"white space":             replace(`"id":`, `"id": `),
		"not sorted":              replace(`{"act"`, `{"zz":1,"act"`),
		"unknown twice":           replace(`"position"`, `"pit":1,"pit":1,"position"`),
		"unknown twice, no ASCII": good[:len(good)-1] + `,"é":1,"é":1}`,
		"no class":                replace(`"class":"identity",`, ""),
		"not in UTF-16 order":     good[:len(good)-1] + `,"\uffee":1,"\U0001F600":1}`,
		"twice":                   replace(`"type":"signIn"`, `"type":"signOut","type":"signIn"`),
		"long escape":             replace("signIn", `s\u0069gnIn`),
		"upper case escape":       replace("gatebook", `\u001F`),
		"escaped slash":           replace("gatebook", `a\/b`),
		"long escape of newline":  replace("gatebook", `\u000a`),
		"raw control":             replace("gatebook", "a\nb"),
		"broken UTF-8":            replace("gatebook", "a\xffb"),
		"number for a string":     replace(`"signIn"`, "7"),
		"string for a number":     replace(`"position":1`, `"position":"1"`),
		"null for a string":       replace(`"signIn"`, "null"),
		"leading zero":            replace(`"position":1`, `"position":01`),
		"negative":                replace(`"position":1`, `"position":-1`),
		"fraction":                replace(`"position":1`, `"position":1.0`),
		"huge":                    replace(`"position":1`, `"position":99999999999999999999`),
		"no version":              replace(`,"version":1`, ""),
		"version 0":               replace(`"version":1`, `"version":0`),
		"no id":                   replace(`"id":"019ab5c7-de4a-7000-8000-0000000000a1",`, ""),
		"no type":                 replace(`"type":"signIn",`, ""),
		"no act":                  replace(`"act":"019ab5c7-de4a-7000-8000-0000000000a0",`, ""),
		"no position":             replace(`"position":1,`, ""),
		"no time":                 replace(`"time":"2026-11-24T10:57:03.042Z",`, ""),
		"other time":              replace("03.042Z", "03.042+01:00"),
		"comma in time":           replace("03.042Z", "03,042Z"),
		"30 February":             replace("2026-11-24", "2026-02-30"),
		"short key":               replace("EBESExQVFhcYGRobHB0eHw", "EBESExQVFhcYGRobHB0e"),
		"zero key":                replace("EBESExQVFhcYGRobHB0eHw", "AAAAAAAAAAAAAAAAAAAAAA"),
		"loose bits in key":       replace("EBESExQVFhcYGRobHB0eHw", "EBESExQVFhcYGRobHB0eHx"),
		"padded digest":           replace("ATEU", "ATEU="),
		"no digest":               replace(`"digest":"Q5lEksUQ9gyUWUVW4MTsfQLiBOozH1RGLeGpUktATEU",`, ""),
		"too deep":                replace(`"position"`, `"pit":`+deep+`,"position"`),
		"too long":                replace(`"position"`, `"pit":"`+strings.Repeat("x", record.MaxHeader)+`","position"`),
		"broken unknown member":   replace(`"position"`, `"pit":tru,"position"`),
	} {
		h, err := record.ParseHeader([]byte(in))
		if !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%s: ParseHeader = %v, want ErrInvalid\n%s", name, err, in)
		}
		if diff := cmp.Diff(record.Header{}, h); diff != "" {
			t.Errorf("%s: a failed parse returned something:\n%s", name, diff)
		}
	}
}

// Names are compared exactly: encoding/json would take "TYPE" for "type", and
// two readers would see two entries.
func TestParseHeaderCase(t *testing.T) {
	in := strings.Replace(vector(t, "header"), `{"act"`, `{"TYPE":"signOut","act"`, 1)
	h, err := record.ParseHeader([]byte(in))
	if err != nil || h.Type != "signIn" {
		t.Errorf("ParseHeader = %q, %v, want signIn", h.Type, err)
	}
}

func TestNewRefuses(t *testing.T) {
	good := record.Header{ID: "i", Type: "t", TypeVersion: 1, Act: "a", Time: time.UnixMilli(1)}
	long := strings.Repeat("x", 256)
	for name, f := range map[string]func(h *record.Header) ([]record.Block, []record.Term){
		"no id":           func(h *record.Header) ([]record.Block, []record.Term) { h.ID = ""; return nil, nil },
		"no type":         func(h *record.Header) ([]record.Block, []record.Term) { h.Type = ""; return nil, nil },
		"no type version": func(h *record.Header) ([]record.Block, []record.Term) { h.TypeVersion = 0; return nil, nil },
		"no act":          func(h *record.Header) ([]record.Block, []record.Term) { h.Act = ""; return nil, nil },
		"no time":         func(h *record.Header) ([]record.Block, []record.Term) { h.Time = time.Time{}; return nil, nil },
		"year 10000": func(h *record.Header) ([]record.Block, []record.Term) {
			h.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
			return nil, nil
		},
		"too long": func(h *record.Header) ([]record.Block, []record.Term) {
			h.Tenant = strings.Repeat("x", 8<<10)
			return nil, nil
		},
		"no class":       func(*record.Header) ([]record.Block, []record.Term) { return []record.Block{{}}, nil },
		"long class":     func(*record.Header) ([]record.Block, []record.Term) { return []record.Block{{Class: long}}, nil },
		"no kind":        func(*record.Header) ([]record.Block, []record.Term) { return nil, []record.Term{{}} },
		"long kind":      func(*record.Header) ([]record.Block, []record.Term) { return nil, []record.Term{{Kind: long}} },
		"too many":       func(*record.Header) ([]record.Block, []record.Term) { return make([]record.Block, 9), nil },
		"too many terms": func(*record.Header) ([]record.Block, []record.Term) { return nil, make([]record.Term, 17) },
		"long block": func(*record.Header) ([]record.Block, []record.Term) {
			return []record.Block{{Class: "c", Bytes: make([]byte, record.MaxBlock+1)}}, nil
		},
	} {
		h := good
		bs, ts := f(&h)
		if _, err := record.New(h, bs, ts); !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%s: New = %v, want ErrInvalid", name, err)
		}
	}
	if _, err := record.New(good, nil, nil); err != nil {
		t.Errorf("New = %v", err)
	}
}

func TestBlocksAreSalted(t *testing.T) {
	p := record.Person{ID: "1"}
	a, err := record.NewBlock(record.ClassIdentity, record.Key{}, p)
	if err != nil {
		t.Fatal(err)
	}
	b, err := record.NewBlock(record.ClassIdentity, record.Key{}, p)
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest() == b.Digest() || !bytes.Equal(a.Payload(), b.Payload()) {
		t.Error("two blocks of one payload must differ in their random bytes only")
	}
	if got, want := string(a.Payload()), `{"id":"1"}`; got != want {
		t.Errorf("Payload = %s, want %s", got, want)
	}
	if (record.Block{Bytes: make([]byte, 32)}).Payload() != nil {
		t.Error("a block of random bytes only has a payload")
	}
}

func TestLimits(t *testing.T) {
	long := func(s string) string { return strings.Repeat(s, 40_000/len(s)) }
	in := record.SignIn{
		User:      record.Person{ID: "u", Email: long("a"), Name: long("Ä")},
		Account:   &record.LinkedAccount{Provider: "p", ID: long("\x01")},
		Assurance: &record.Assurance{AMR: strings.Split(long("x,"), ","), ACR: long("\"")},
		Session:   long("\xff"),
	}
	b, err := record.NewBlock(record.ClassIdentity, record.Key{}, &in)
	if err != nil {
		t.Fatal(err)
	}
	var got record.SignIn
	if err := b.Decode(&got); err != nil {
		t.Fatal(err)
	}
	// 320 for an address, 1,024 for an id, 64 for a method, 256 for the rest;
	// counted as JSON, which writes a quote as two bytes and a control as six.
	// Broken UTF-8 is one replacement a run: nothing is lost by that.
	want := record.SignIn{
		User:      record.Person{ID: "u", Email: strings.Repeat("a", 320), Name: strings.Repeat("Ä", 128)},
		Account:   &record.LinkedAccount{Provider: "p", ID: strings.Repeat("\x01", 170)},
		Assurance: &record.Assurance{AMR: strings.Split(strings.Repeat("x,", 15)+"x", ","), ACR: strings.Repeat("\"", 128)},
		Session:   "\ufffd",
		Truncated: []string{"user.email", "user.name", "account.id", "assurance.amr", "assurance.acr"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cut payload (-want +got):\n%s", diff)
	}
	if len(in.User.Email) != 40_000 || len(in.Account.ID) != 40_000 || in.Truncated != nil || len(in.Assurance.AMR) < 100 {
		t.Error("NewBlock changed the caller's payload")
	}
	// An error's type is ours, yet can be as long as its type parameters.
	b, err = record.NewBlock(record.ClassDetail, record.Key{}, record.Handler{ErrorType: long("T")})
	if err != nil || len(b.Bytes) > 2000 {
		t.Errorf("NewBlock of a long error type: %d bytes, %v", len(b.Bytes), err)
	}
}

// Whatever a stranger sends, the block fits: no sign-in fails for its length.
func TestPayloadsAlwaysFit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat(rapid.SampledFrom([]string{"a", "\x00", "<", "\u2028", "\xff", "\U0001F600", "\"", "\n"}).Draw(t, "piece"),
				rapid.SampledFrom([]int{0, 1, 170, 171, 1023, 1024, 1025, 20_000}).Draw(t, "times"))
		})
		texts := rapid.SliceOfN(text, 0, 40)
		p := record.Person{ID: text.Draw(rt, "id"), Email: text.Draw(rt, "email"), Name: text.Draw(rt, "name")}
		a := record.LinkedAccount{Provider: text.Draw(rt, "provider"), Type: text.Draw(rt, "type"), ID: text.Draw(rt, "account")}
		for _, payload := range []any{
			record.SignIn{User: p, Account: &a, Assurance: &record.Assurance{AMR: texts.Draw(rt, "amr"), ACR: text.Draw(rt, "acr")}, Session: text.Draw(rt, "sid"), Strategy: text.Draw(rt, "strategy")},
			record.UserChange{User: p, Changed: texts.Draw(rt, "changed")},
			record.SignInFailed{User: &p, Account: &a, Target: text.Draw(rt, "target")},
			record.Request{IP: text.Draw(rt, "ip"), IPSource: p.ID, UserAgent: p.Name, Method: p.Email, Route: a.ID, Origin: a.Type},
		} {
			b, err := record.NewBlock(record.ClassIdentity, record.Key{}, payload)
			if err != nil {
				rt.Fatalf("%T: %v", payload, err)
			}
			if !utf8.Valid(b.Payload()) || !json.Valid(b.Payload()) {
				rt.Fatalf("%T: %s", payload, b.Payload())
			}
		}
	})
}

func TestTerms(t *testing.T) {
	k := bytes.Repeat([]byte{1}, 32)
	a := record.NewTerm(k, record.TermUser, "1")
	if a == record.NewTerm(k, record.TermUser, "2") || a.Token == record.NewTerm(k, record.TermIP, "1").Token ||
		a.Token == record.NewTerm(bytes.Repeat([]byte{2}, 32), record.TermUser, "1").Token {
		t.Error("a term must depend on key, kind and value")
	}
	got, err := record.ParseTerms(record.AppendTerms(nil, []record.Term{a, a}))
	if err != nil || len(got) != 2 || got[1] != a {
		t.Errorf("ParseTerms = %v, %v", got, err)
	}
	packed := record.AppendTerms(nil, []record.Term{a})
	for name, in := range map[string][]byte{
		"no kind":  append([]byte{0}, packed[len("1user"):]...),
		"too many": bytes.Repeat(packed, record.MaxTerms+1),
	} {
		if got, err := record.ParseTerms(in); !errors.Is(err, record.ErrInvalid) || got != nil {
			t.Errorf("%s: ParseTerms = %v, %v", name, got, err)
		}
	}
	for i := 1; i < len(packed); i++ {
		if got, err := record.ParseTerms(packed[:i]); !errors.Is(err, record.ErrInvalid) || got != nil {
			t.Errorf("ParseTerms of %d bytes = %v, %v", i, got, err)
		}
	}
}

func TestParseBlocksRefuses(t *testing.T) {
	packed := record.AppendBlocks(nil, []record.Block{{Class: "c", Bytes: []byte("12")}})
	for i := 1; i < len(packed); i++ {
		if got, err := record.ParseBlocks(packed[:i]); !errors.Is(err, record.ErrInvalid) || got != nil {
			t.Errorf("ParseBlocks of %d bytes = %v, %v", i, got, err)
		}
	}
	long := record.AppendBlocks(nil, []record.Block{{Class: "c", Bytes: make([]byte, record.MaxBlock+1)}})
	huge := bytes.Clone(packed)
	copy(huge[18:], "\xff\xff\xff\xff")
	for name, in := range map[string][]byte{
		"length past the end": huge,
		"over the limit":      long,
		"no class":            append([]byte{0}, packed[2:]...),
		"too many":            bytes.Repeat(packed, record.MaxBlocks+1),
	} {
		if got, err := record.ParseBlocks(in); !errors.Is(err, record.ErrInvalid) || got != nil {
			t.Errorf("%s: ParseBlocks = %v, %v", name, got, err)
		}
	}
}

func TestKey(t *testing.T) {
	k := record.NewKey()
	if k.IsZero() || k == record.NewKey() {
		t.Error("NewKey is not random")
	}
	if got, err := record.ParseKey(k.String()); err != nil || got != k {
		t.Errorf("ParseKey(%q) = %v, %v", k, got, err)
	}
	if (record.Key{}).String() != "" {
		t.Error("the zero key has a text")
	}
}

func FuzzParseHeader(f *testing.F) {
	for _, name := range []string{"header", "later-header"} {
		f.Add([]byte(vector(f, name)))
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"a":[{"b":-0.1e+5}],"é":"\u0000\b\\"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := record.ParseHeader(b)
		if err != nil {
			if !errors.Is(err, record.ErrInvalid) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(record.Header{}, h); diff != "" {
				t.Fatalf("a failed parse returned something:\n%s", diff)
			}
			return
		}
		// What is read is canonical, so no two inputs mean the same header.
		if want := canonical(t, b); !bytes.Equal(b, want) {
			t.Fatalf("accepted what is not canonical:\n got %s\nwant %s", b, want)
		}
		// What is known is read as encoding/json reads it.
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil || m["id"] != h.ID || m["type"] != h.Type {
			t.Fatalf("encoding/json reads %v, %v", m, err)
		}
		again, err := record.ParseHeader(h.Append(nil))
		if err != nil {
			t.Fatalf("what was read does not encode to something that can be read: %v", err)
		}
		if diff := cmp.Diff(h, again); diff != "" {
			t.Fatalf("encoded and read again (-before +after):\n%s", diff)
		}
	})
}

func FuzzParseBlocks(f *testing.F) {
	f.Add(hexVector(f, "packed-blocks"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		blocks, err := record.ParseBlocks(b)
		if err != nil {
			if blocks != nil {
				t.Fatal("a failed parse returned something")
			}
			return
		}
		if again := record.AppendBlocks(nil, blocks); !bytes.Equal(again, b) {
			t.Fatalf("packed again: %x, want %x", again, b)
		}
	})
}

func FuzzParseTerms(f *testing.F) {
	f.Add(hexVector(f, "packed-terms"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		terms, err := record.ParseTerms(b)
		if err != nil {
			if terms != nil {
				t.Fatal("a failed parse returned something")
			}
			return
		}
		if again := record.AppendTerms(nil, terms); !bytes.Equal(again, b) {
			t.Fatalf("packed again: %x, want %x", again, b)
		}
	})
}

func BenchmarkParseHeader(b *testing.B) {
	header := []byte(vector(b, "header"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.ParseHeader(header); err != nil {
			b.Fatal(err)
		}
	}
}
