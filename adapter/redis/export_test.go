package redis

import (
	"time"

	"github.com/gatebook/gatebook"
)

// Seal is what the tests see of seal.
type Seal struct{ s *seal }

// NewSeal returns the seal of a book.
func NewSeal(book string, secret []byte) (Seal, error) {
	s, err := newSeal(book, secret)
	return Seal{s}, err
}

// Name returns the name of a token's key.
func (s Seal) Name(token string) string { return s.s.name(kindSession, token) }

// Close seals a row.
func (s Seal) Close(name string, f gatebook.FoundSession, at time.Time) (string, error) {
	return s.s.close(name, &held{found: f, at: at.UnixMilli(), leasedAt: at.UnixMicro()})
}

// Open opens what Close sealed.
func (s Seal) Open(name, value string) (gatebook.FoundSession, time.Time, error) {
	h, err := s.s.open(name, value)
	if err != nil {
		return gatebook.FoundSession{}, time.Time{}, err
	}
	return h.found, time.UnixMilli(h.at), nil
}

// Decode decodes what was sealed.
func Decode(text []byte) (gatebook.FoundSession, error) {
	h, err := decode(text)
	if err != nil {
		return gatebook.FoundSession{}, err
	}
	return h.found, nil
}
