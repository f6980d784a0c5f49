package oauth

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gatebook/gatebook"
)

const (
	maxReply = 1 << 20          // bytes of any reply of a provider
	timeout  = 10 * time.Second // of one request to a provider
)

// Causes of a ProviderError. Their texts are ours alone: replies, and the errors
// of the libraries that quote them, may hold tokens.
var (
	errTimeout  = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	errNoAnswer = errors.New("no valid HTTP answer")
	errTooLarge = fmt.Errorf("reply is over %d bytes", maxReply)
	errNotJSON  = errors.New("reply is no JSON object")
)

// Reason codes of package record's catalogue, to which a provider's borders do
// not reach.
const (
	reasonProviderDenied      = "providerDenied"
	reasonProviderError       = "providerError"
	reasonProviderUnreachable = "providerUnreachable"
	reasonStateMismatch       = "stateMismatch"
	reasonNonceMismatch       = "nonceMismatch"
	reasonPKCEFailed          = "pkceFailed"
	reasonIssuerMismatch      = "issuerMismatch"
	reasonIDTokenInvalid      = "idTokenInvalid"
	reasonProfileInvalid      = "profileInvalid"
	reasonConfiguration       = "configuration"
)

// statusError is a reply with a status that is not 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("reply has status %d", int(e)) }

// newClient returns a client that follows no redirects, which could carry a
// code, token or secret to somebody else, and reads every reply whole up to
// maxReply.
func newClient(given *http.Client) *http.Client {
	c := &http.Client{
		Transport:     capped{http.DefaultTransport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       timeout,
	}
	if given != nil && given.Transport != nil {
		c.Transport = capped{given.Transport}
	}
	if given != nil && given.Timeout > 0 {
		c.Timeout = min(given.Timeout, timeout)
	}
	return c
}

// capped reads each reply whole before it gives it out, so that no library
// above it can read without bounds.
type capped struct{ base http.RoundTripper }

func (t capped) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", "gatebook") // some providers refuse requests without
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxReply {
		return nil, errTooLarge
	}
	setBody(resp, body)
	return resp, nil
}

func setBody(resp *http.Response, body []byte) {
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
}

// only200 turns replies with another status into errors, whose bodies go-oidc
// would quote.
type only200 struct{ base http.RoundTripper }

func (t only200) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		return nil, statusError(resp.StatusCode)
	}
	return resp, err
}

// get fetches url with a Bearer token.
func (p *Provider) get(ctx context.Context, url, token string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, errors.New("URL of the request is malformed")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := p.http.Do(req)
	if err != nil {
		return 0, nil, cause(err)
	}
	body, err := readAll(resp)
	return resp.StatusCode, body, err
}

// readAll returns the body that capped has already read.
func readAll(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// cause returns what may be told of a failed request. net/http quotes URLs and
// malformed replies, so only errors known to be made of our own words and of
// addresses pass.
func cause(err error) error {
	var (
		status statusError
		netErr net.Error
		op     *net.OpError
		dns    *net.DNSError
		cert   *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &status):
		return status
	case errors.Is(err, errTooLarge):
		return errTooLarge
	case errors.As(err, &netErr) && netErr.Timeout():
		return errTimeout
	case errors.As(err, &dns):
		return dns
	case errors.As(err, &cert):
		return cert
	case errors.As(err, &op):
		return op
	}
	return errNoAnswer
}

// requestFailed returns the error of a request that brought no usable reply.
func requestFailed(step string, err error) *gatebook.ProviderError {
	err = cause(err)
	reason := reasonProviderUnreachable
	var status statusError
	if errors.As(err, &status) || errors.Is(err, errTooLarge) {
		reason = reasonProviderError
	}
	return &gatebook.ProviderError{Reason: reason, Step: step, Err: err}
}

// replyInvalid returns the error of a reply that says the wrong thing.
func replyInvalid(step string, err error) *gatebook.ProviderError {
	return &gatebook.ProviderError{Reason: reasonProviderError, Step: step, Err: err}
}

// checkFailed returns the error of a check that a reply did not pass.
func checkFailed(step, reason, check, text string) *gatebook.ProviderError {
	return &gatebook.ProviderError{Reason: reason, Check: check, Step: step, Err: errors.New(text)}
}
