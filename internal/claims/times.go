package claims

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Skew is how far, in seconds, clocks may differ where tokens are read: what
// Auth.js allows.
const Skew = 15

var (
	// ErrExpired is returned for an exp that has passed.
	ErrExpired = errors.New("it has expired")
	// ErrTimes is returned for times of a token that cannot be accepted for
	// another reason.
	ErrTimes = errors.New("its times are not accepted")
)

// CheckTimes checks exp, nbf and iat (RFC 7519, Section 4.1) at now, in seconds
// since 1970, with the tolerance of Skew. An Object without exp is accepted, as
// in Auth.js. The error matches ErrExpired or ErrTimes.
func (o *Object) CheckTimes(now int64) error {
	for _, name := range []string{"exp", "nbf", "iat"} {
		raw, ok := o.Get(name)
		if !ok {
			continue
		}
		n, ok := o.Int64(name)
		if !ok {
			var f float64
			if raw[0] == 'n' || json.Unmarshal(raw, &f) != nil {
				return fmt.Errorf("%w: %s is no number", ErrTimes, name)
			}
			// What no int64 holds is beyond all times; converting it would
			// give anything.
			n = int64(max(min(f, 1<<62), -1<<62))
		}
		if name == "exp" && n <= now-Skew {
			return ErrExpired
		}
		if name == "nbf" && n > now+Skew {
			return fmt.Errorf("%w: it is not valid yet", ErrTimes)
		}
	}
	return nil
}
