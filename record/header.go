package record

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Version is the version of the header's form that this package writes.
const Version = 1

// MaxHeader is the most bytes a header may have. A header of the catalogue's
// types stays under 2 KiB.
const MaxHeader = 8 << 10

// ErrInvalid is matched by the errors of every parser in this package.
var ErrInvalid = errors.New("record: invalid")

// Key is a subject key: 16 random bytes that stand for one person in headers.
// It is made when the person is first met and says nothing about them; erasing
// a person removes what connects the two. The zero Key means no subject.
type Key [16]byte

// NewKey returns a fresh random key.
func NewKey() Key {
	var k Key
	rand.Read(k[:])
	return k
}

// IsZero reports whether k stands for nobody.
func (k Key) IsZero() bool { return k == Key{} }

// String returns k as 22 characters of unpadded base64url, or "" for the zero
// Key.
func (k Key) String() string {
	if k.IsZero() {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(k[:])
}

// ParseKey is the inverse of [Key.String].
func ParseKey(s string) (Key, error) {
	var k Key
	if s == "" {
		return k, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(k) {
		return Key{}, fmt.Errorf("%w: subject key", ErrInvalid)
	}
	copy(k[:], b)
	if k.IsZero() {
		return Key{}, fmt.Errorf("%w: subject key", ErrInvalid)
	}
	return k, nil
}

// Digest is the SHA-256 of a block's bytes or of a header's.
type Digest [sha256.Size]byte

// String returns d as 43 characters of unpadded base64url.
func (d Digest) String() string { return base64.RawURLEncoding.EncodeToString(d[:]) }

// Sources of an entry.
const (
	SourceGatebook = "gatebook" // Gatebook itself, over HTTP
	SourceApp      = "app"      // the application, through a method of Auth
	SourceAuthjs   = "authjs"   // read from what Auth.js wrote
	SourceForeign  = "foreign"  // what another program wrote, first met by us
	SourceImport   = "import"   // an import of users
)

// Outcomes of an entry.
const (
	Success = "success"
	Failure = "failure"
	Unknown = "unknown"
)

// Kinds of actor.
const (
	ActorUser            = "user"
	ActorUnauthenticated = "unauthenticated"
	ActorSystem          = "system"
	ActorApp             = "app" // the application's own code, for nobody signed in
)

// Header is what an entry says for ever. Empty members are left out of the
// encoding.
type Header struct {
	// Version is the version of the header's form, [Version] when written here.
	Version int
	// Book is the id of the book, a UUID.
	Book string
	// ID is the entry's id, a UUID version 7, the same in every sink and retry.
	ID string
	// Type is the event's type, such as "signIn", and TypeVersion the version
	// of its payload, from 1.
	Type        string
	TypeVersion int
	// Source says which program the entry comes from.
	Source string
	// Tenant separates the books of several customers; usually empty.
	Tenant string
	// Time is when it happened, by the server's clock, UTC, in milliseconds.
	Time time.Time
	// Act is the id of the act, a UUID version 7 shared by all its entries, and
	// Position the entry's place in it, from 0.
	Act      string
	Position int
	// Cause is the id of the entry that brought this one about, if any.
	Cause string
	// Outcome is success, failure or unknown; Reason a closed code on failure.
	Outcome string
	Reason  string
	// Provider is the configured id of the provider and Method its kind
	// (oauth, oidc, email, credentials, webauthn, native).
	Provider string
	Method   string
	// ActorType says who acted, and Actor is their subject key when it is a
	// known person.
	ActorType string
	Actor     Key
	// Initiator says on whose behalf: user, admin, policy or system.
	Initiator string
	// Subject is the key of the person the entry is about.
	Subject Key
	// Blocks lists the entry's blocks in order.
	Blocks []BlockRef
}

// BlockRef is what a header says of a block: its class, whom it is about, and
// the SHA-256 digest of its bytes.
type BlockRef struct {
	Class   string
	Subject Key
	Digest  Digest
}

const timeForm = "2006-01-02T15:04:05.000Z"

// Append appends the canonical encoding of h (RFC 8785: members sorted, no
// white space, shortest escapes) to dst. Strings must be valid UTF-8; broken
// ones are mended with U+FFFD.
func (h *Header) Append(dst []byte) []byte {
	// The members stand here in the order that RFC 8785, Section 3.2.3 asks
	// for, so nothing is sorted while an act waits.
	dst = append(dst, '{')
	dst = member(dst, "act", h.Act)
	if h.ActorType != "" || !h.Actor.IsZero() {
		dst = name(dst, "actor")
		dst = append(dst, '{')
		dst = keyMember(dst, "key", h.Actor)
		dst = member(dst, "type", h.ActorType)
		dst = append(dst, '}')
	}
	if h.Provider != "" || h.Method != "" {
		dst = name(dst, "auth")
		dst = append(dst, '{')
		dst = member(dst, "method", h.Method)
		dst = member(dst, "provider", h.Provider)
		dst = append(dst, '}')
	}
	if len(h.Blocks) > 0 {
		dst = name(dst, "blocks")
		dst = append(dst, '[')
		for i, b := range h.Blocks {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '{')
			dst = member(dst, "class", b.Class)
			dst = append(name(dst, "digest"), '"')
			dst = append(base64.RawURLEncoding.AppendEncode(dst, b.Digest[:]), '"')
			dst = keyMember(dst, "subject", b.Subject)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	dst = member(dst, "book", h.Book)
	dst = member(dst, "cause", h.Cause)
	dst = member(dst, "id", h.ID)
	dst = member(dst, "initiator", h.Initiator)
	dst = member(dst, "outcome", h.Outcome)
	dst = name(dst, "position")
	dst = strconv.AppendInt(dst, int64(h.Position), 10)
	dst = member(dst, "reason", h.Reason)
	dst = member(dst, "source", h.Source)
	dst = keyMember(dst, "subject", h.Subject)
	dst = member(dst, "tenant", h.Tenant)
	dst = name(dst, "time")
	dst = append(dst, '"')
	dst = h.Time.UTC().AppendFormat(dst, timeForm)
	dst = append(dst, '"')
	dst = member(dst, "type", h.Type)
	dst = name(dst, "typeVersion")
	dst = strconv.AppendInt(dst, int64(h.TypeVersion), 10)
	dst = name(dst, "version")
	dst = strconv.AppendInt(dst, int64(h.Version), 10)
	return append(dst, '}')
}

func name(dst []byte, n string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, n...)
	return append(dst, '"', ':')
}

func member(dst []byte, n, v string) []byte {
	if v == "" {
		return dst
	}
	return appendString(name(dst, n), v)
}

func keyMember(dst []byte, n string, k Key) []byte {
	if k.IsZero() {
		return dst
	}
	dst = append(name(dst, n), '"')
	return append(base64.RawURLEncoding.AppendEncode(dst, k[:]), '"')
}

// appendString writes s as RFC 8785, Section 3.2.2.2 asks: the two-character
// escapes where they exist, \u00xx in lower case for other controls, everything
// else as it is.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= 0x20:
			dst = append(dst, c)
		case c == '\b':
			dst = append(dst, '\\', 'b')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\f':
			dst = append(dst, '\\', 'f')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, '"')
}

// ParseHeader reads a header. It accepts members that it does not know and a
// later Version, so that old programs read what new ones wrote as far as they
// can. It refuses what no version writes: white space, members out of order or
// twice, escapes that are not the shortest, members of the wrong kind, and a
// header without version, id, type, type version, act, position and time. So a
// header has one reading only, and one of this Version without unknown or empty
// members is the [Header.Append] of what is returned. Errors match [ErrInvalid]
// and hold nothing of the input.
func ParseHeader(b []byte) (Header, error) {
	if len(b) > MaxHeader {
		return Header{}, fmt.Errorf("%w: header of %d bytes, at most %d are read", ErrInvalid, len(b), MaxHeader)
	}
	if !utf8.Valid(b) {
		return Header{}, fmt.Errorf("%w: header is not UTF-8", ErrInvalid)
	}
	var h Header
	var actor, subject, at string
	h.Position = -1
	s := scanner{b: b}
	s.object(func(name string) {
		switch name {
		case "act":
			h.Act = s.string()
		case "actor":
			s.object(func(name string) {
				switch name {
				case "key":
					actor = s.string()
				case "type":
					h.ActorType = s.string()
				default:
					s.skip()
				}
			})
		case "auth":
			s.object(func(name string) {
				switch name {
				case "method":
					h.Method = s.string()
				case "provider":
					h.Provider = s.string()
				default:
					s.skip()
				}
			})
		case "blocks":
			s.array(func() { h.Blocks = append(h.Blocks, s.blockRef()) })
		case "book":
			h.Book = s.string()
		case "cause":
			h.Cause = s.string()
		case "id":
			h.ID = s.string()
		case "initiator":
			h.Initiator = s.string()
		case "outcome":
			h.Outcome = s.string()
		case "position":
			h.Position = s.int()
		case "reason":
			h.Reason = s.string()
		case "source":
			h.Source = s.string()
		case "subject":
			subject = s.string()
		case "tenant":
			h.Tenant = s.string()
		case "time":
			at = s.string()
		case "type":
			h.Type = s.string()
		case "typeVersion":
			h.TypeVersion = s.int()
		case "version":
			h.Version = s.int()
		default:
			s.skip()
		}
	})
	if s.bad || s.i != len(b) {
		return Header{}, fmt.Errorf("%w: header is not a canonical JSON object of the known form", ErrInvalid)
	}
	if h.Version < 1 || h.ID == "" || h.Type == "" || h.Act == "" || h.TypeVersion < 1 || h.Position < 0 {
		return Header{}, fmt.Errorf("%w: header lacks version, id, type, act or position", ErrInvalid)
	}
	var err error
	h.Time, err = time.Parse(timeForm, at)
	// Parse also takes a comma for the point, and other lengths.
	if err != nil || h.Time.Format(timeForm) != at {
		return Header{}, fmt.Errorf("%w: time", ErrInvalid)
	}
	if h.Actor, err = ParseKey(actor); err != nil {
		return Header{}, err
	}
	if h.Subject, err = ParseKey(subject); err != nil {
		return Header{}, err
	}
	return h, nil
}

func (s *scanner) blockRef() BlockRef {
	var ref BlockRef
	var subject, digest string
	s.object(func(name string) {
		switch name {
		case "class":
			ref.Class = s.string()
		case "digest":
			digest = s.string()
		case "subject":
			subject = s.string()
		default:
			s.skip()
		}
	})
	var err error
	if ref.Subject, err = ParseKey(subject); err != nil {
		s.bad = true
	}
	d, err := base64.RawURLEncoding.Strict().DecodeString(digest)
	if err != nil || len(d) != len(ref.Digest) || ref.Class == "" {
		s.bad = true
		return ref
	}
	copy(ref.Digest[:], d)
	return ref
}
