// Package cors answers browsers that ask whether a page of another origin may
// use a service with its visitor's cookies (CORS, Fetch Standard, Section 3.3).
//
// Origins are compared whole: no wildcards, no suffixes, and never the answer
// "*". It only relaxes what browsers keep apart; it protects against no request
// that a browser sends without asking.
package cors

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// maxAge is how long, in seconds, browsers may remember the answer to a
// preflight.
const maxAge = "600"

// maxHeaders bounds the list of header names that a preflight may ask for.
const maxHeaders = 1 << 10

// methods are those that a preflight may ask for.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
}

// Policy says which origins may read answers and send cookies. It does not
// change after [New] and is safe for concurrent use.
type Policy struct {
	// allowed has the header value to answer for each origin, so that answering
	// allocates nothing.
	allowed map[string][]string
}

// New returns the Policy for origins, each spelled as browsers send it. It fails
// for "*" and "null", which stand for anybody, and for an origin that normalize,
// which knows the spelling, changes or refuses.
func New(origins []string, normalize func(string) (string, error)) (*Policy, error) {
	p := &Policy{allowed: make(map[string][]string, len(origins))}
	for i, o := range origins {
		if o == "*" || o == "null" {
			return nil, fmt.Errorf("origin %d is %q, which stands for any site: list each origin", i, o)
		}
		want, err := normalize(o)
		if err != nil {
			return nil, fmt.Errorf("origin %d: %w", i, err)
		}
		if o != want {
			return nil, fmt.Errorf("origin %d is not spelled as browsers send it: write %q", i, want)
		}
		p.allowed[o] = []string{o}
	}
	return p, nil
}

var (
	yes           = []string{"true"}
	age           = []string{maxAge}
	allowMethods  = []string{strings.Join(methods, ", ")}
	preflightVary = []string{"Access-Control-Request-Method", "Access-Control-Request-Headers"}
	errPreflight  = errors.New("not allowed")
)

// Answer adds the headers of CORS to the answer to r. It reports true when r was
// a preflight, which it has then answered whole: 204 for an origin that is
// allowed, 403 for another.
func (p *Policy) Answer(w http.ResponseWriter, r *http.Request) (done bool) {
	h := w.Header()
	// Also when it is missing: a cache must not give one origin's answer, or one
	// without these headers, to another.
	h.Add("Vary", "Origin")
	origin, ok := p.origin(r)
	if ok {
		h["Access-Control-Allow-Origin"] = origin
		h["Access-Control-Allow-Credentials"] = yes
	}
	if r.Method != http.MethodOptions || r.Header["Access-Control-Request-Method"] == nil || r.Header["Origin"] == nil {
		return false
	}
	h["Vary"] = append(h["Vary"], preflightVary...)
	if !ok || p.preflight(h, r) != nil {
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// origin returns the header value for the origin of r if it is allowed. A
// request names one origin (RFC 6454, Section 7.3); two are nobody's.
func (p *Policy) origin(r *http.Request) ([]string, bool) {
	named := r.Header["Origin"]
	if len(named) != 1 {
		return nil, false
	}
	value, ok := p.allowed[named[0]]
	return value, ok
}

// preflight sets what the request that is asked about may have.
func (p *Policy) preflight(h http.Header, r *http.Request) error {
	if !slices.Contains(methods, r.Header.Get("Access-Control-Request-Method")) {
		return errPreflight
	}
	// Naming the headers back is what "*" would say, which does not count with
	// credentials.
	asked := r.Header["Access-Control-Request-Headers"]
	if len(asked) > 1 || len(asked) == 1 && !isNameList(asked[0]) {
		return errPreflight
	}
	h["Access-Control-Allow-Methods"] = allowMethods
	if len(asked) == 1 {
		h["Access-Control-Allow-Headers"] = asked
	}
	h["Access-Control-Max-Age"] = age
	return nil
}

// isNameList reports whether s is nothing but names of headers (RFC 9110,
// Section 5.6.2), commas and spaces, and not "*".
func isNameList(s string) bool {
	if len(s) > maxHeaders {
		return false
	}
	for _, c := range []byte(s) {
		if ('a' > c|0x20 || c|0x20 > 'z') && ('0' > c || c > '9') && !strings.ContainsRune("-_, ", rune(c)) {
			return false
		}
	}
	return true
}
