package record_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook/record"
)

// vectors returns the blocks of docs/record-format.md that are marked with a
// name, so that the document and the code cannot say different things.
func vectors(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../docs/record-format.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```text vector=(\\S+)\n(.*?)\n```").FindAllStringSubmatch(string(b), -1) {
		out[m[1]] = m[2]
	}
	if len(out) == 0 {
		t.Fatal("docs/record-format.md has no vectors")
	}
	return out
}

func vector(t testing.TB, name string) string {
	t.Helper()
	v, ok := vectors(t)[name]
	if !ok {
		t.Fatalf("docs/record-format.md has no vector %q", name)
	}
	return v
}

// hexVector returns the bytes of a vector in hex; line breaks and spaces are
// for the reader.
func hexVector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(vector(t, name)), ""))
	if err != nil {
		t.Fatalf("vector %q: %v", name, err)
	}
	return b
}

func count(from byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

// known is the entry of docs/record-format.md: the sign-in of a user whose
// subject key is 10 11 … 1f, with blocks whose random bytes count up from 20
// and from 40, and search terms under the key 00 01 … 1f.
func known(t testing.TB) (record.Header, []record.Block, []record.Term) {
	t.Helper()
	subject := record.Key(count(0x10, 16))
	at := time.Date(2026, 11, 24, 10, 57, 3, 42_000_000, time.UTC)
	isNew := false
	// NewBlock chooses random bytes; the vectors need known ones.
	withSalt := func(b record.Block, err error, from byte) record.Block {
		if err != nil {
			t.Fatal(err)
		}
		copy(b.Bytes, count(from, 32))
		return b
	}
	b1, err1 := record.NewBlock(record.ClassIdentity, subject, record.SignIn{
		User:      record.Person{ID: "8f14e45f-ceea-4671-9d62-1c3b0a7f5e21", Email: "ada@example.com", Name: "Ada <Ä>"},
		Account:   &record.LinkedAccount{Provider: "github", Type: "oauth", ID: "583231"},
		Session:   "Zx3kq1N0d0mVb2Jw",
		Strategy:  "database",
		IsNewUser: &isNew,
	})
	b2, err2 := record.NewBlock(record.ClassRequest, subject, record.Request{
		IP: "192.0.2.7", IPSource: "connection", UserAgent: "curl/8.9.1", Method: "GET", Route: "callback/github",
	})
	blocks := []record.Block{withSalt(b1, err1, 0x20), withSalt(b2, err2, 0x40)}
	h := record.Header{
		Book:        "3f2b1c84-6a5d-4e0f-9b7a-2d1e0c9f8a76",
		ID:          "019ab5c7-de4a-7000-8000-0000000000a1",
		Type:        record.TypeSignIn,
		TypeVersion: 1,
		Source:      record.SourceGatebook,
		Time:        at,
		Act:         "019ab5c7-de4a-7000-8000-0000000000a0",
		Position:    1,
		Cause:       "019ab5c7-de4a-7000-8000-0000000000a2",
		Outcome:     record.Success,
		Provider:    "github",
		Method:      "oauth",
		ActorType:   record.ActorUser,
		Actor:       subject,
		Initiator:   "user",
		Subject:     subject,
	}
	key := count(0, 32)
	terms := []record.Term{
		record.NewTerm(key, record.TermUser, "8f14e45f-ceea-4671-9d62-1c3b0a7f5e21"),
		record.NewTerm(key, record.TermEmail, "Ada@Example.com"),
		record.NewTerm(key, record.TermIP, "192.0.2.7"),
		record.NewTerm(key, record.TermSession, "Zx3kq1N0d0mVb2Jw"),
		record.NewTerm(key, record.TermAccount, "github\x00583231"),
	}
	return h, blocks, terms
}

func TestKnownAnswers(t *testing.T) {
	h, blocks, terms := known(t)
	e, err := record.New(h, blocks, terms)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	check("header", string(e.Header), vector(t, "header"))
	sum := sha256.Sum256(e.Header)
	check("header digest", hex.EncodeToString(sum[:]), vector(t, "header-digest"))
	check("subject key", h.Subject.String(), vector(t, "subject-key"))
	for i, name := range []string{"identity", "request"} {
		check(name+" payload", string(blocks[i].Payload()), vector(t, name+"-payload"))
		d := blocks[i].Digest()
		check(name+" digest", d.String(), vector(t, name+"-digest"))
	}
	check("packed blocks", hex.EncodeToString(record.AppendBlocks(nil, e.Blocks)), hex.EncodeToString(hexVector(t, "packed-blocks")))
	check("packed terms", hex.EncodeToString(record.AppendTerms(nil, e.Search)), hex.EncodeToString(hexVector(t, "packed-terms")))
}

func TestKnownAnswersRead(t *testing.T) {
	want, blocks, terms := known(t)
	want.Version = 1
	for _, b := range blocks {
		want.Blocks = append(want.Blocks, record.BlockRef{Class: b.Class, Subject: b.Subject, Digest: b.Digest()})
	}
	h, err := record.ParseHeader([]byte(vector(t, "header")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("ParseHeader (-want +got):\n%s", diff)
	}
	gotBlocks, err := record.ParseBlocks(hexVector(t, "packed-blocks"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(blocks, gotBlocks); diff != "" {
		t.Errorf("ParseBlocks (-want +got):\n%s", diff)
	}
	gotTerms, err := record.ParseTerms(hexVector(t, "packed-terms"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(terms, gotTerms); diff != "" {
		t.Errorf("ParseTerms (-want +got):\n%s", diff)
	}
	var p record.SignIn
	if err := gotBlocks[0].Decode(&p); err != nil || p.User.Name != "Ada <Ä>" || *p.IsNewUser {
		t.Errorf("Decode = %+v, %v", p, err)
	}
}

// A later version may add members anywhere; an old reader goes past them.
func TestReadLaterVersion(t *testing.T) {
	h, err := record.ParseHeader([]byte(vector(t, "later-header")))
	if err != nil {
		t.Fatal(err)
	}
	if h.Version != 2 || h.Type != "signIn" || h.Provider != "github" {
		t.Errorf("ParseHeader = %+v", h)
	}
}
