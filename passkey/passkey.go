// Package passkey signs people in with passkeys and security keys (Web
// Authentication Level 3): nothing to type, nothing to steal from a server, and
// nothing that a false site could get.
//
//	passkeys, err := passkey.New(passkey.Config{})
//	auth, err := gatebook.New(gatebook.Config{
//		Providers: []gatebook.Provider{github, passkeys},
//		…
//	})
//
// Somebody who is signed in adds a passkey and from then on signs in with it.
// The built-in sign-in page does the browser's part, and so does
// next-auth/webauthn, unchanged. Passkeys are stored as Auth.js stores them, so
// that both may use one table; docs/passkeys.md says more.
//
// The package verifies and keeps nothing. Attestation is not asked for: it says
// which model made a key, which keeps nobody out who would lie about it.
package passkey

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/gatebook/gatebook"
)

// Config configures a [Provider]. The zero value is good.
type Config struct {
	// ID is the provider's part of the routes and of the accounts in the
	// database. If empty, "passkey", and "webauthn" with SecurityKeys.
	ID string
	// Name is shown to people. If empty, "Passkey" or "WebAuthn".
	Name string
	// RPID is the domain that passkeys are made for: the site's host or a domain
	// above it, such as "example.com" for app.example.com. If empty, the site's
	// host. Passkeys work for one RPID only: it cannot be changed later.
	RPID string
	// RPName is the site's name, which some authenticators show. If empty, the
	// site's host.
	RPName string
	// Origins are where passkeys may be used, such as "https://app.example.com",
	// or "android:apk-key-hash:…" of an app. They are compared exactly. If nil,
	// the site's own address.
	Origins []string
	// Timeout is how long a browser waits for the person, at most 15 minutes. If
	// zero, 5.
	Timeout time.Duration
	// SignUp lets somebody who is not signed in become a user by registering a
	// passkey with an address, as Auth.js does. Nobody verifies the address then,
	// and who may sign up can find out which addresses are taken. If false, a
	// passkey is added by somebody signed in.
	SignUp bool
	// SecurityKeys also takes security keys that cannot keep a passkey
	// themselves: the provider called webauthn in Auth.js. People then type their
	// address first.
	SecurityKeys bool
}

// Provider is a [gatebook.WebAuthnProvider], safe for concurrent use.
type Provider struct {
	cfg       Config
	selection selection
}

var _ gatebook.WebAuthnProvider = (*Provider)(nil)

// algorithms are those that passkeys are made for, in the order of preference:
// Ed25519, P-256 with SHA-256, RSA PKCS #1 v1.5 with SHA-256.
var algorithms = []webauthncose.COSEAlgorithmIdentifier{
	webauthncose.AlgEdDSA, webauthncose.AlgES256, webauthncose.AlgRS256,
}

var (
	validID   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	validRPID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// New returns the provider that c describes, or an error that names the field
// that is wrong.
func New(c Config) (*Provider, error) {
	id, name := "passkey", "Passkey"
	if c.SecurityKeys {
		id, name = "webauthn", "WebAuthn"
	}
	if c.ID == "" {
		c.ID = id
	}
	if c.Name == "" {
		c.Name = name
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Minute
	}
	c.Origins = slices.Clone(c.Origins)
	switch {
	case !validID.MatchString(c.ID):
		return nil, fmt.Errorf("passkey: Config.ID %q must be 1 to 64 letters, digits, '-' or '_'", c.ID)
	case c.RPID != "" && !isDomain(c.RPID):
		return nil, fmt.Errorf("passkey: Config.RPID %q must be a domain in lower case without port, such as example.com", c.RPID)
	case c.Timeout < time.Second || c.Timeout > 15*time.Minute:
		return nil, fmt.Errorf("passkey: Config.Timeout %v must be between a second and 15 minutes", c.Timeout)
	}
	for _, o := range c.Origins {
		if err := checkOrigin(o, c.RPID); err != nil {
			return nil, fmt.Errorf("passkey: Config.Origins: %q %w", o, err)
		}
	}
	p := &Provider{cfg: c, selection: selection{ResidentKey: "required", UserVerification: "required", RequireResidentKey: true}}
	if c.SecurityKeys {
		p.selection = selection{ResidentKey: "preferred", UserVerification: "preferred"}
	}
	return p, nil
}

func isDomain(s string) bool {
	_, err := netip.ParseAddr(s)
	return err != nil && len(s) <= 253 && validRPID.MatchString(s)
}

func checkOrigin(origin, rpID string) error {
	if !strings.HasPrefix(origin, "http://") && !strings.HasPrefix(origin, "https://") {
		if strings.HasPrefix(origin, "android:apk-key-hash:") {
			return nil
		}
		return errors.New("is neither http, https nor android:apk-key-hash")
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme+"://"+u.Host != origin || u.Host != strings.ToLower(u.Host) {
		return errors.New("must be scheme://host[:port] in lower case, as browsers write it")
	}
	if rpID != "" && !within(u.Hostname(), rpID) {
		return fmt.Errorf("is not within Config.RPID %q", rpID)
	}
	return nil
}

// within reports whether a host is the domain or below it.
func within(host, domain string) bool { return host == domain || strings.HasSuffix(host, "."+domain) }

// Info describes the provider.
func (p *Provider) Info() gatebook.ProviderInfo {
	return gatebook.ProviderInfo{ID: p.cfg.ID, Name: p.cfg.Name, Type: gatebook.TypeWebAuthn}
}

// SignUp returns Config.SignUp.
func (p *Provider) SignUp() bool { return p.cfg.SignUp }

// party is the relying party of one ceremony.
type party struct {
	id, name string
	origins  []string
}

// party returns who is asking: what the configuration says, or else the site at
// origin.
func (p *Provider) party(origin string) (*party, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return nil, fmt.Errorf("passkey: the site's origin: %w", err)
	}
	rp := &party{id: p.cfg.RPID, name: p.cfg.RPName, origins: p.cfg.Origins}
	if rp.id == "" {
		rp.id = u.Hostname()
	} else if !within(u.Hostname(), rp.id) {
		// Its text is for the log, which gives no other error's.
		return nil, &gatebook.ProviderError{Reason: "configuration", Step: "relying party", Check: "rpId",
			Err: fmt.Errorf("the site's host %q is not within Config.RPID %q", u.Hostname(), rp.id)}
	}
	if rp.name == "" {
		rp.name = u.Host
	}
	if len(rp.origins) == 0 {
		rp.origins = []string{origin}
	}
	return rp, nil
}

// verifier returns go-webauthn for an answer from one of the party's origins.
func (rp *party) verifier(origin string) (*webauthn.WebAuthn, error) {
	return webauthn.New(&webauthn.Config{RPID: rp.id, RPDisplayName: rp.name, RPOrigins: []string{origin},
		// Some browsers and password managers answer extensions that nobody
		// asked for; we use none.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore})
}
