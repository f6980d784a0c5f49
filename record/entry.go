package record

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Classes of blocks. A class is kept and forgotten as a whole.
const (
	// ClassIdentity holds who: ids, addresses, names, accounts, sessions.
	ClassIdentity = "identity"
	// ClassRequest holds from where: address, user agent, route.
	ClassRequest = "request"
	// ClassDetail holds what concerns nobody: handler names, durations, counts.
	ClassDetail = "detail"
)

// Limits of an entry.
const (
	// MaxBlock is the most bytes of one block, its random bytes included.
	MaxBlock = 16 << 10
	// MaxBlocks and MaxTerms are the most blocks and search terms of an entry.
	MaxBlocks = 8
	MaxTerms  = 16

	// MaxString is the most bytes of a string of a payload, as JSON without
	// quotes, where the catalogue has no other limit, and MaxList the most
	// elements of a list.
	MaxString = 256
	MaxList   = 16

	maxID    = 1024 // bytes of a user's, session's or account's id
	maxEmail = 320  // RFC 5321, Section 4.5.3.1: 64, the at sign, and 255

	maxName  = 255 // bytes of a class or kind; its length is one byte
	saltSize = 32
)

// Block is a part of an entry that can be forgotten: 32 random bytes and then a
// JSON object. It belongs to one subject and one class.
type Block struct {
	Class   string
	Subject Key
	Bytes   []byte
}

// NewBlock returns a block with payload, a struct of the catalogue or a pointer
// to one, as its JSON. Strings and lists that are too long are cut to the limits
// of the catalogue and named in the payload's Truncated, and broken UTF-8 is
// mended, so that what a stranger sends cannot keep an act from being recorded;
// payload itself is not changed.
func NewBlock(class string, subject Key, payload any) (Block, error) {
	var buf bytes.Buffer
	buf.Grow(512)
	var salt [saltSize]byte
	rand.Read(salt[:])
	buf.Write(salt[:])
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(limited(payload)); err != nil {
		return Block{}, fmt.Errorf("encode %s block: %w", class, err)
	}
	b := buf.Bytes()
	b = b[:len(b)-1] // the encoder's newline
	if len(b) > MaxBlock {
		return Block{}, fmt.Errorf("%w: %s block of %d bytes, at most %d fit", ErrInvalid, class, len(b), MaxBlock)
	}
	return Block{Class: class, Subject: subject, Bytes: b}, nil
}

// Digest returns the SHA-256 of the block's bytes, as the header has it.
func (b Block) Digest() Digest { return sha256.Sum256(b.Bytes) }

// Payload returns the JSON behind the random bytes, or nil if the block is too
// short to have any. It aliases b.Bytes.
func (b Block) Payload() []byte {
	if len(b.Bytes) <= saltSize {
		return nil
	}
	return b.Bytes[saltSize:]
}

// Decode decodes the block's JSON into v, a pointer to a struct of the
// catalogue.
func (b Block) Decode(v any) error {
	if err := json.Unmarshal(b.Payload(), v); err != nil {
		return fmt.Errorf("%w: %s block", ErrInvalid, b.Class)
	}
	return nil
}

// Kinds of search terms.
const (
	TermUser    = "user"    // the user's id
	TermEmail   = "email"   // an e-mail address
	TermIP      = "ip"      // a client address
	TermSession = "session" // a sid
	TermAccount = "account" // provider, a NUL byte, and the provider's account id
)

// Term finds an entry by a personal value without holding it: the HMAC-SHA-256
// of kind, a NUL byte and the value, under the book's random key.
type Term struct {
	Kind  string
	Token [sha256.Size]byte
}

// NewTerm returns the term for value. It makes of value what a block records of
// it, cut and mended, and of an address its lower case. So a long value is found
// by its whole, and the terms of a block can be made again from it.
func NewTerm(key []byte, kind, value string) Term {
	m, _ := macs.Get().(*mac)
	if m == nil || !bytes.Equal(m.key, key) {
		m = &mac{key: bytes.Clone(key), hash: hmac.New(sha256.New, key)}
	}
	m.hash.Reset()
	m.text = append(append(append(m.text[:0], kind...), 0), termValue(kind, value)...)
	m.hash.Write(m.text)
	m.text = m.hash.Sum(m.text[:0])
	t := Term{Kind: kind, Token: [sha256.Size]byte(m.text)}
	macs.Put(m)
	return t
}

// macs keeps keyed hashes: an act computes five terms, all under one key, and
// most of the work is the key's.
var macs sync.Pool // of *mac

type mac struct {
	key  []byte
	hash hash.Hash
	text []byte
}

// LowerAddress returns an e-mail address in lower case, except that no letter from beyond ASCII becomes
// one of ASCII: the Kelvin sign's lower case is k, and the address with one is
// that of somebody else.
func LowerAddress(s string) string {
	return strings.Map(func(r rune) rune {
		if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
			return l
		}
		return r
	}, s)
}

func termValue(kind, value string) string {
	switch kind {
	case TermUser, TermSession:
		return text(value, maxID)
	case TermEmail:
		return LowerAddress(text(value, maxEmail))
	case TermAccount:
		provider, id, _ := strings.Cut(value, "\x00")
		return text(provider, MaxString) + "\x00" + text(id, maxID)
	default:
		return text(value, MaxString)
	}
}

// Entry is an event ready to be written: its header's bytes, its blocks and its
// search terms. The book gives it its seq and its time of recording later.
type Entry struct {
	ID     string
	Header []byte
	Blocks []Block
	Search []Term
}

// New seals h and blocks into an entry: it fills h.Version and h.Blocks and
// encodes the header, once. What it seals [ParseHeader] reads: a header without
// id, type, type version, act or time is refused, as is a block or term without
// class or kind. Errors match [ErrInvalid].
func New(h Header, blocks []Block, terms []Term) (Entry, error) {
	if len(blocks) > MaxBlocks || len(terms) > MaxTerms {
		return Entry{}, fmt.Errorf("%w: %d blocks and %d terms, at most %d and %d fit", ErrInvalid, len(blocks), len(terms), MaxBlocks, MaxTerms)
	}
	if h.ID == "" || h.Type == "" || h.TypeVersion < 1 || h.Act == "" || h.Position < 0 {
		return Entry{}, fmt.Errorf("%w: header lacks id, type, type version, act or position", ErrInvalid)
	}
	if y := h.Time.UTC().Year(); h.Time.IsZero() || y < 0 || y > 9999 {
		return Entry{}, fmt.Errorf("%w: header's time", ErrInvalid)
	}
	for _, b := range blocks {
		if b.Class == "" || len(b.Class) > maxName || len(b.Bytes) > MaxBlock {
			return Entry{}, fmt.Errorf("%w: block with a class of %d and %d bytes", ErrInvalid, len(b.Class), len(b.Bytes))
		}
	}
	for _, t := range terms {
		if t.Kind == "" || len(t.Kind) > maxName {
			return Entry{}, fmt.Errorf("%w: term with a kind of %d bytes", ErrInvalid, len(t.Kind))
		}
	}
	h.Version = Version
	h.Blocks = make([]BlockRef, len(blocks))
	for i, b := range blocks {
		h.Blocks[i] = BlockRef{Class: b.Class, Subject: b.Subject, Digest: b.Digest()}
	}
	enc := h.Append(make([]byte, 0, 768))
	if len(enc) > MaxHeader {
		return Entry{}, fmt.Errorf("%w: header of %d bytes, at most %d fit", ErrInvalid, len(enc), MaxHeader)
	}
	return Entry{ID: h.ID, Header: enc, Blocks: blocks, Search: terms}, nil
}

// AppendBlocks appends the packed form of blocks, one outbox column: for each
// block a byte with the length of its class, the class, 16 bytes of subject key
// (zero for none), four bytes big-endian with the length of its bytes, and the
// bytes.
func AppendBlocks(dst []byte, blocks []Block) []byte {
	for _, b := range blocks {
		dst = append(dst, byte(len(b.Class)))
		dst = append(dst, b.Class...)
		dst = append(dst, b.Subject[:]...)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(b.Bytes)))
		dst = append(dst, b.Bytes...)
	}
	return dst
}

// ParseBlocks is the inverse of [AppendBlocks]. The blocks alias b.
func ParseBlocks(b []byte) ([]Block, error) {
	var out []Block
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 || len(out) == MaxBlocks || len(b) < 1+n+len(Key{})+4 {
			return nil, fmt.Errorf("%w: packed blocks", ErrInvalid)
		}
		blk := Block{Class: string(b[1 : 1+n])}
		b = b[1+n:]
		copy(blk.Subject[:], b)
		size := binary.BigEndian.Uint32(b[16:])
		b = b[20:]
		if size > MaxBlock || int(size) > len(b) {
			return nil, fmt.Errorf("%w: packed blocks", ErrInvalid)
		}
		blk.Bytes, b = b[:size:size], b[size:]
		out = append(out, blk)
	}
	return out, nil
}

// AppendTerms appends the packed form of terms, one outbox column: for each
// term a byte with the length of its kind, the kind, and 32 bytes of token.
func AppendTerms(dst []byte, terms []Term) []byte {
	for _, t := range terms {
		dst = append(dst, byte(len(t.Kind)))
		dst = append(dst, t.Kind...)
		dst = append(dst, t.Token[:]...)
	}
	return dst
}

// ParseTerms is the inverse of [AppendTerms].
func ParseTerms(b []byte) ([]Term, error) {
	var out []Term
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 || len(out) == MaxTerms || len(b) < 1+n+sha256.Size {
			return nil, fmt.Errorf("%w: packed terms", ErrInvalid)
		}
		t := Term{Kind: string(b[1 : 1+n])}
		copy(t.Token[:], b[1+n:])
		out = append(out, t)
		b = b[1+n+sha256.Size:]
	}
	return out, nil
}
