package record

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
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
	// (oauth, oidc, email, credentials, webauthn).
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
		dst = member(dst, "key", h.Actor.String())
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
			dst = member(dst, "digest", b.Digest.String())
			dst = member(dst, "subject", b.Subject.String())
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
	dst = member(dst, "subject", h.Subject.String())
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

type headerJSON struct {
	Act   string `json:"act"`
	Actor struct {
		Key  string `json:"key"`
		Type string `json:"type"`
	} `json:"actor"`
	Auth struct {
		Method   string `json:"method"`
		Provider string `json:"provider"`
	} `json:"auth"`
	Blocks []struct {
		Class   string `json:"class"`
		Digest  string `json:"digest"`
		Subject string `json:"subject"`
	} `json:"blocks"`
	Book        string `json:"book"`
	Cause       string `json:"cause"`
	ID          string `json:"id"`
	Initiator   string `json:"initiator"`
	Outcome     string `json:"outcome"`
	Position    int    `json:"position"`
	Reason      string `json:"reason"`
	Source      string `json:"source"`
	Subject     string `json:"subject"`
	Tenant      string `json:"tenant"`
	Time        string `json:"time"`
	Type        string `json:"type"`
	TypeVersion int    `json:"typeVersion"`
	Version     int    `json:"version"`
}

// ParseHeader reads a header. It accepts members that it does not know and a
// later Version, so that old programs read what new ones wrote as far as they
// can; it refuses a header without version, id, type, act and time. Errors match
// [ErrInvalid] and hold nothing of the input.
func ParseHeader(b []byte) (Header, error) {
	if len(b) > MaxHeader {
		return Header{}, fmt.Errorf("%w: header of %d bytes, at most %d are read", ErrInvalid, len(b), MaxHeader)
	}
	var j headerJSON
	if !utf8.Valid(b) || json.Unmarshal(b, &j) != nil {
		return Header{}, fmt.Errorf("%w: header is not a JSON object of the known form", ErrInvalid)
	}
	if j.Version < 1 || j.ID == "" || j.Type == "" || j.Act == "" || j.TypeVersion < 1 || j.Position < 0 {
		return Header{}, fmt.Errorf("%w: header lacks version, id, type or act", ErrInvalid)
	}
	h := Header{
		Version: j.Version, Book: j.Book, ID: j.ID, Type: j.Type, TypeVersion: j.TypeVersion,
		Source: j.Source, Tenant: j.Tenant, Act: j.Act, Position: j.Position, Cause: j.Cause,
		Outcome: j.Outcome, Reason: j.Reason, Provider: j.Auth.Provider, Method: j.Auth.Method,
		ActorType: j.Actor.Type, Initiator: j.Initiator,
	}
	var err error
	if h.Time, err = time.Parse(timeForm, j.Time); err != nil {
		return Header{}, fmt.Errorf("%w: time", ErrInvalid)
	}
	if h.Actor, err = ParseKey(j.Actor.Key); err != nil {
		return Header{}, err
	}
	if h.Subject, err = ParseKey(j.Subject); err != nil {
		return Header{}, err
	}
	for _, jb := range j.Blocks {
		ref := BlockRef{Class: jb.Class}
		if ref.Subject, err = ParseKey(jb.Subject); err != nil {
			return Header{}, err
		}
		d, err := base64.RawURLEncoding.Strict().DecodeString(jb.Digest)
		if err != nil || len(d) != sha256.Size {
			return Header{}, fmt.Errorf("%w: block digest", ErrInvalid)
		}
		copy(ref.Digest[:], d)
		h.Blocks = append(h.Blocks, ref)
	}
	return h, nil
}
