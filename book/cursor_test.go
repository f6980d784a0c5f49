package book_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatebook/gatebook/book"
)

func TestCursor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := book.Cursor{Seq: rapid.Int64Min(1).Draw(t, "seq")}
		copy(c.Digest[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "digest"))
		got, err := book.ParseCursor(c.String())
		if diff := cmp.Diff(c, got); diff != "" || err != nil {
			t.Fatalf("ParseCursor(%q) = %v (-want +got):\n%s", c, err, diff)
		}
	})
	if c, err := book.ParseCursor("0-0000000000000000"); c != (book.Cursor{}) || err != nil {
		t.Errorf("ParseCursor of the zero Cursor = %v, %v", c, err)
	}
	if got := (book.Cursor{Seq: 7, Digest: [8]byte{9, 0x8b}}).String(); got != "7-098b000000000000" {
		t.Errorf("String = %s", got)
	}
}

func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"", "7-098b35136d9a7710", "0-0000000000000000", "0-098b35136d9a7710", "-1-098b35136d9a7710",
		"07-098b35136d9a7710", "+7-098b35136d9a7710", "7-098B35136D9A7710", "7-098b35136d9a77", "7-098b35136d9a771000",
		"7", "7-", "-", "7 -098b35136d9a7710", "9223372036854775808-098b35136d9a7710", "7-098b35136d9a7710 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := book.ParseCursor(s)
		switch {
		case err == nil && c.String() != s:
			t.Errorf("ParseCursor(%q) = %v, another text", s, c)
		case err == nil && c.Seq == 0 && c != (book.Cursor{}):
			t.Errorf("ParseCursor(%q) = %v, a place before the first entry with a digest", s, c)
		case err != nil && !errors.Is(err, book.ErrBadCursor):
			t.Errorf("ParseCursor(%q): %v does not match ErrBadCursor", s, err)
		case err != nil && c != (book.Cursor{}):
			t.Errorf("ParseCursor(%q) = %v and an error", s, c)
		}
	})
}

// The search key confirms guesses at personal values: no verb and no log shows it.
func TestIdentityHidesKey(t *testing.T) {
	i := book.Identity{ID: "the-id", SearchKey: []byte("the-search-key")}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "identity", i)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		log.WriteString(fmt.Sprintf(verb, i) + fmt.Sprintf(verb, &i) + fmt.Sprintf(verb, []book.Identity{i}))
	}
	for _, form := range []string{"the-search-key", "dGhlLXNlYXJjaC1rZXk", "7468652d", "116, 104, 101", "116 104 101"} {
		if strings.Contains(log.String(), form) {
			t.Errorf("the key is shown as %s in %s", form, log.String())
		}
	}
	if !strings.Contains(log.String(), "the-id") {
		t.Errorf("the id is not shown: %s", log.String())
	}
}
