package redis

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"reflect"
	"sync"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// The first byte of a value.
const (
	leased = 'L' // and an id: somebody reads the row to fill it in
	sealed = 1   // and a salt, and a row
)

// Kinds of names.
const (
	kindSession = "s" // of a token
	kindUser    = "u" // of a user's id
	kindHandle  = "h" // of an adapter's handle
)

// seal names keys and seals values. Its keys are derived from the book's search
// key, which every server on the database has and Redis does not.
//
// Names are HMAC-SHA256, so that who reads Redis cannot try user ids. A value is
// sealed with AES-256-GCM under a key of its own, an HMAC of its random salt, so
// that there may be any number of them, and of its name, so that nobody's row can
// be put under the name of another's token.
type seal struct {
	prefix        string
	names, values sync.Pool // of hash.Hash
}

const (
	saltSize  = 32
	nonceSize = 12 // of the salt: a key seals one value, so that any nonce does
)

// sealer returns the seal, which is made when the book's identity is first read.
func (c *Cache) sealer(ctx context.Context) (*seal, error) {
	if s := c.seal.Load(); s != nil {
		return s, nil
	}
	id, err := c.Book().Identity(ctx)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	s, err := newSeal(id.ID, id.SearchKey)
	if err != nil {
		return nil, fmt.Errorf("redis: derive keys: %w", err)
	}
	c.seal.Store(s)
	return s, nil
}

func newSeal(book string, secret []byte) (*seal, error) {
	// In braces, so that a cluster keeps all keys of a book in one place, where
	// scripts can work on several at once.
	s := &seal{prefix: fmt.Sprintf("gatebook:{%.8s}:", book)}
	for use, pool := range map[string]*sync.Pool{"names": &s.names, "values": &s.values} {
		key, err := hkdf.Key(sha256.New, secret, nil, "gatebook session cache "+use, sha256.Size)
		if err != nil {
			return nil, err
		}
		pool.New = func() any { return hmac.New(sha256.New, key) }
	}
	return s, nil
}

// digest appends the HMAC of a and b to dst, an empty slice whose memory it uses.
func digest(pool *sync.Pool, dst []byte, a, b string) []byte {
	m := pool.Get().(hash.Hash)
	m.Reset()
	m.Write(append(append(dst, a...), b...))
	sum := m.Sum(dst)
	pool.Put(m)
	return sum
}

// name returns the name of a key: 128 bits of a digest of what it is about.
func (s *seal) name(kind, of string) string {
	var buf [128]byte
	sum := digest(&s.names, buf[:0], kind+"\x00", of)
	b := append(make([]byte, 0, 48), s.prefix...)
	b = append(append(b, kind...), ':')
	return string(base64.RawURLEncoding.AppendEncode(b, sum[:16]))
}

// aead returns what seals the one value of this salt and name.
func (s *seal) aead(salt []byte, name string) (cipher.AEAD, error) {
	var buf [128]byte
	block, err := aes.NewCipher(digest(&s.values, buf[:0], string(salt), name))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// cursor returns the name of the key that has the follower's place in the book.
func (s *seal) cursor() string { return s.prefix + "cursor" }

// row is what is sealed.
type row struct {
	At       int64                  `json:"at"`
	LeasedAt int64                  `json:"leasedAt"`
	Session  gatebook.StoredSession `json:"session"` // its token is not there, as Secret never is
	User     gatebook.User          `json:"user"`    // but Extra
	Extra    map[string]column      `json:"extra,omitzero"`
	Subject  record.Key             `json:"subject"`
}

// column is a value with its type.
type column struct {
	Text   *string    `json:"s,omitempty"`
	Number *int64     `json:"n,omitempty"`
	Float  *float64   `json:"f,omitempty"`
	Bool   *bool      `json:"b,omitempty"`
	Bytes  []byte     `json:"x,omitzero"`
	Time   *time.Time `json:"t,omitempty"`
	Local  bool       `json:"l,omitempty"` // the time is in the zone of the server
}

func newColumn(v any) column {
	switch v := v.(type) {
	case string:
		return column{Text: &v}
	case int64:
		return column{Number: &v}
	case float64:
		return column{Float: &v}
	case bool:
		return column{Bool: &v}
	case []byte:
		return column{Bytes: v}
	case time.Time:
		return column{Time: &v, Local: v.Location() == time.Local}
	}
	return column{} // null; what is of another type does not survive, which close sees
}

func (c column) value() any {
	switch {
	case c.Text != nil:
		return *c.Text
	case c.Number != nil:
		return *c.Number
	case c.Float != nil:
		return *c.Float
	case c.Bool != nil:
		return *c.Bool
	case c.Bytes != nil:
		return c.Bytes
	case c.Time != nil && c.Local:
		return c.Time.Local()
	case c.Time != nil:
		return *c.Time
	}
	return nil
}

// maxRow is the most bytes of a row that is cached. Longer ones, of users whose
// picture stands in the row itself, would fill the memory of every process, and
// Redis would not take them in the time that it has.
const maxRow = 8 << 10

var errLong = errors.New("the row is long")

var errUnfaithful = errors.New("it has text that is not UTF-8, or an extra column of a type that is not cached")

// close seals a row. One that would not come out as it went in is refused.
func (s *seal) close(name string, h *held) (string, error) {
	r := row{At: h.at, LeasedAt: h.leasedAt, Session: h.found.Session, User: h.found.User, Subject: h.found.Subject}
	r.Session.Token, r.User.Extra = "", nil
	if extra := h.found.User.Extra; extra != nil {
		r.Extra = make(map[string]column, len(extra))
		for name, v := range extra {
			r.Extra[name] = newColumn(v)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode a session: %w", err)
	}
	if len(text) > maxRow {
		return "", errLong
	}
	again, err := decode(text)
	if err != nil {
		return "", err
	}
	again.found.Session.Token = h.found.Session.Token
	if !reflect.DeepEqual(again.found, h.found) {
		return "", errUnfaithful
	}
	b := make([]byte, 1+saltSize, 1+saltSize+len(text)+16)
	b[0] = sealed
	rand.Read(b[1:])
	aead, err := s.aead(b[1:], name)
	if err != nil {
		return "", fmt.Errorf("seal a session: %w", err)
	}
	return string(aead.Seal(b, b[1:1+nonceSize], text, nil)), nil
}

var errSeal = errors.New("it is not sealed by this book's servers for this key")

// open is the inverse of close.
func (s *seal) open(name, value string) (*held, error) {
	if len(value) < 1+saltSize || value[0] != sealed {
		return nil, errSeal
	}
	b := []byte(value)
	aead, err := s.aead(b[1:1+saltSize], name)
	if err != nil {
		return nil, errSeal
	}
	text, err := aead.Open(b[1+saltSize:1+saltSize], b[1:1+nonceSize], b[1+saltSize:], nil)
	if err != nil {
		return nil, errSeal
	}
	return decode(text)
}

func decode(text []byte) (*held, error) {
	var r row
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, errors.New("decode a session: it is of another version")
	}
	h := &held{at: r.At, leasedAt: r.LeasedAt, found: gatebook.FoundSession{Session: r.Session,
		FoundUser: gatebook.FoundUser{User: r.User, Subject: r.Subject}}}
	h.found.Session.Token = ""
	if r.Extra != nil {
		h.found.User.Extra = make(map[string]any, len(r.Extra))
		for name, c := range r.Extra {
			h.found.User.Extra[name] = c.value()
		}
	}
	return h, nil
}

// leaseID returns a value that marks a key as leased to one reader.
func leaseID() string { return string(leased) + rand.Text() }
