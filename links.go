package gatebook

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/record"
)

// LinkLimits is how many magic links a provider sends: so many mails nobody can
// make us send to a stranger. Beyond them the visitor is answered as always, no
// mail is sent, and signIn.failed is recorded with reason rateLimited. A limit
// holds over all servers of a store.
type LinkLimits struct {
	// PerAddress is how many links that still work an address may get within Per,
	// so that a stranger who asks for it cannot keep its owner from signing in. If
	// zero, 5; at most 99; negative is no limit.
	PerAddress int
	// PerNetwork is how many links the visitors of a network (an IPv4 /24 or
	// IPv6 /48) may ask for in each Per. If zero, 100; negative is no limit.
	// Visitors on this machine itself have none: from there come proxies that
	// Config.TrustedProxies does not name, and tests.
	PerNetwork int
	// Per is the time. If zero, 15 minutes; at most an hour.
	Per time.Duration
}

// LinkLimiter is an [EmailProvider] with limits of its own; others have those of
// the zero LinkLimits.
type LinkLimiter interface {
	LinkLimits() LinkLimits
}

// VerificationTokenMaker is an [EmailProvider] that makes the tokens of its links
// (Auth.js: generateVerificationToken). Whoever guesses one is signed in, so a
// token must have at least 16 visible characters of ASCII, and should have 128
// random bits.
type VerificationTokenMaker interface {
	VerificationToken() (Secret, error)
}

// Check returns the limits with defaults filled in, or an error that names the
// field that is wrong.
func (l LinkLimits) Check() (LinkLimits, error) {
	if l.PerAddress == 0 {
		l.PerAddress = 5
	}
	if l.PerNetwork == 0 {
		l.PerNetwork = 100
	}
	if l.Per == 0 {
		l.Per = 15 * time.Minute
	}
	switch {
	case l.PerAddress >= 100: // an adapter lists 100 links
		return l, errors.New("PerAddress is more than 99")
	case l.PerNetwork > 1_000_000:
		return l, errors.New("PerNetwork is more than 1,000,000")
	case l.Per < time.Second || l.Per > time.Hour:
		return l, errors.New("the time Per must be a second to an hour")
	}
	return l, nil
}

func checkLinks(p EmailProvider) error {
	if l, ok := p.(LinkLimiter); ok {
		if _, err := l.LinkLimits().Check(); err != nil {
			return fmt.Errorf("gatebook: Config.Providers: %q: LinkLimits: %w", p.Info().ID, err)
		}
	}
	return nil
}

func linkLimits(p EmailProvider) LinkLimits {
	var l LinkLimits
	if limiter, ok := p.(LinkLimiter); ok {
		l = limiter.LinkLimits()
	}
	l, _ = l.Check() // New has checked it
	return l
}

// linkRequest is a link that somebody asked for, on its way.
type linkRequest struct {
	p       EmailProvider
	info    ProviderInfo
	address string
	limits  LinkLimits
}

// sendNewLink makes, stores and sends a link within the limits, or says why
// not. sent holds the links that the address has.
func (x *exchange) sendNewLink(ctx context.Context, l *linkRequest, sent []time.Time) *refused {
	if l.limits.PerAddress > 0 && l.recent(sent, x.now) >= l.limits.PerAddress {
		return l.limited("the address has got as many links as it may")
	}
	token, err := newLinkToken(l.p)
	if err != nil {
		return &refused{reason: record.ReasonInternal, step: "make the token of a magic link", err: err}
	}
	row := VerificationToken{Identifier: l.address, Hash: x.a.csrf.HashToken(string(token)), Expires: cut(x.now.Add(l.p.MaxAge()))}
	if no := x.storeLink(ctx, l, row); no != nil {
		return no
	}
	undo := []Write{UseVerificationToken{Identifier: row.Identifier, Hash: row.Hash}}
	if l.limits.PerAddress > 0 {
		// Of many who ask at once all may have found room. Their rows are
		// there now, so too many are seen by the last ones at least.
		found, err := x.a.find(ctx, Query{LinksTo: l.address})
		if err != nil {
			return &refused{reason: record.ReasonStoreError, step: "count the links of an address", err: err, writes: undo}
		}
		if l.recent(found.Links, x.now) > l.limits.PerAddress {
			no := l.limited("the address has got as many links as it may")
			no.writes = undo
			return no
		}
	}
	if err := x.sendLink(ctx, l, token, row.Expires); err != nil {
		encoded := string(cookie.AppendForm(nil, "token", string(token))) // as it is in the link
		if text := err.Error(); strings.Contains(text, string(token)) || strings.Contains(text, encoded) {
			// The error goes to the log, and whoever has the link is signed in.
			err = errors.New("the mailer's error quotes the link and is left out")
		}
		// The row goes: links that nobody got must not use up the limit.
		return &refused{reason: record.ReasonMailFailed, step: "send the magic link", err: err, writes: undo}
	}
	return nil
}

// recent counts the links that were made within the limits' time and still work.
// Rows tell when they expire; one that lasts longer than a link made now is not
// of this provider, or from before its MaxAge was turned down.
func (l *linkRequest) recent(expiries []time.Time, now time.Time) int {
	age := l.p.MaxAge()
	n := 0
	for _, expires := range expiries {
		made := expires.Add(-age)
		if made.After(now.Add(-min(l.limits.Per, age))) && !made.After(now.Add(clockSlack)) {
			n++
		}
	}
	return n
}

// limited refuses a link that is too many.
func (l *linkRequest) limited(step string) *refused {
	return &refused{reason: record.ReasonRateLimited, step: step, unseen: true}
}

// storeLink commits a link's row, together with a place among those of the
// visitor's network: a value that can be used once, so that each place is given
// once whichever server gives it.
func (x *exchange) storeLink(ctx context.Context, l *linkRequest, row VerificationToken) *refused {
	client := x.a.request(x.visit).IP
	try := func() error {
		writes := []Write{CreateVerificationToken{row}}
		if l.limits.PerNetwork > 0 && client.IsValid() && !client.IsLoopback() {
			place, err := x.linkPlace(ctx, l, network(client))
			if err != nil {
				return err
			}
			writes = append(writes, place)
		}
		return x.a.commit(ctx, &Act{Writes: writes})
	}
	// A crowd that asks at once meets at each place, and all but one go on to
	// the next.
	err := try()
	for range placeTries {
		if !isConflict(err) {
			break
		}
		err = try()
	}
	switch {
	case errors.Is(err, errNoPlace):
		return l.limited("the network has asked for as many links as it may")
	case err != nil:
		return &refused{reason: record.ReasonStoreError, step: "store", err: err}
	}
	return nil
}

const placeTries = 64

var errNoPlace = errors.New("gatebook: no place is left")

// linkPlace returns the first place of a network that is free. Places are taken
// in order, so it is found in a few reads.
func (x *exchange) linkPlace(ctx context.Context, l *linkRequest, from netip.Prefix) (UseCheck, error) {
	window := x.now.Truncate(l.limits.Per)
	place := func(i int) UseCheck {
		name := fmt.Sprintf("%s\x00%s\x00%d\x00%d", l.info.ID, from, window.Unix(), i)
		return UseCheck{Digest: checkDigest("link", name), Expires: window.Add(l.limits.Per)}
	}
	// Places below low are taken, and none from high on is. Most networks have
	// asked for little, so the first ones are looked at first.
	low, high := 0, l.limits.PerNetwork
	for step := 1; low < high; {
		i := min(low+step, high) - 1
		found, err := x.a.find(ctx, Query{Check: place(i).Digest})
		if err != nil {
			return UseCheck{}, err
		}
		if found.CheckUsed {
			low, step = i+1, 2*step
		} else {
			high, step = i, 1
		}
	}
	if low == l.limits.PerNetwork {
		return UseCheck{}, errNoPlace
	}
	return place(low), nil
}

// newLinkToken returns the token of a new link.
func newLinkToken(p EmailProvider) (Secret, error) {
	maker, ok := p.(VerificationTokenMaker)
	if !ok {
		return Secret(newHex()), nil
	}
	token, err := guard(maker.VerificationToken)
	if err != nil {
		return "", err
	}
	if token == "" { // it leaves that to us
		return Secret(newHex()), nil
	}
	invisible := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	if len(token) < 16 || len(token) > 512 || strings.ContainsFunc(string(token), invisible) {
		return "", fmt.Errorf("the provider's token must have 16 to 512 visible characters of ASCII, and has %d bytes", len(token))
	}
	return token, nil
}

// sendBudget is how long a mailer may take; it hears of no hang-up.
const sendBudget = 30 * time.Second

func (x *exchange) sendLink(ctx context.Context, l *linkRequest, token Secret, expires time.Time) error {
	link := cookie.AppendForm([]byte(nil), "callbackUrl", x.callback)
	link = cookie.AppendForm(link, "token", string(token))
	link = cookie.AppendForm(link, "email", l.address)
	mail := &MagicLink{Address: l.address, URL: Secret(x.callbackURL(l.info.ID) + "?" + string(link)), Host: x.host(), Expires: expires, Theme: x.a.mailTheme}
	ctx, cancel := context.WithTimeout(ctx, sendBudget)
	defer cancel()
	_, err := guard(func() (struct{}, error) { return struct{}{}, l.p.Send(ctx, mail) })
	return err
}
