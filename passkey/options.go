package passkey

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/gatebook/gatebook"
)

// The members of the options have the order that Auth.js gives them.

type requestOptions struct {
	Challenge        string       `json:"challenge"`
	AllowCredentials []descriptor `json:"allowCredentials,omitempty"`
	Timeout          int64        `json:"timeout"`
	UserVerification string       `json:"userVerification"`
	RPID             string       `json:"rpId"`
}

type creationOptions struct {
	Challenge          string       `json:"challenge"`
	RP                 rpEntity     `json:"rp"`
	User               userEntity   `json:"user"`
	PubKeyCredParams   []parameter  `json:"pubKeyCredParams"`
	Timeout            int64        `json:"timeout"`
	Attestation        string       `json:"attestation"`
	ExcludeCredentials []descriptor `json:"excludeCredentials"`
	Selection          selection    `json:"authenticatorSelection"`
	Extensions         extensions   `json:"extensions"`
}

type rpEntity struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

type userEntity struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
}

type parameter struct {
	Alg  int64  `json:"alg"`
	Type string `json:"type"`
}

type descriptor struct {
	ID         string   `json:"id"`
	Type       string   `json:"type"`
	Transports []string `json:"transports,omitempty"`
}

type selection struct {
	ResidentKey        string `json:"residentKey"`
	UserVerification   string `json:"userVerification"`
	RequireResidentKey bool   `json:"requireResidentKey"`
}

type extensions struct {
	CredProps bool `json:"credProps"`
}

// RequestOptions returns what a browser is to be asked for a passkey with.
func (p *Provider) RequestOptions(c *gatebook.Ceremony) (json.RawMessage, error) {
	rp, err := p.party(c.Origin)
	if err != nil {
		return nil, err
	}
	list, err := descriptors(c.Credentials)
	if err != nil {
		return nil, err
	}
	return encode(requestOptions{Challenge: c.Challenge, AllowCredentials: list, Timeout: p.cfg.Timeout.Milliseconds(),
		UserVerification: p.selection.UserVerification, RPID: rp.id})
}

// CreationOptions returns what a browser is to make a passkey with.
func (p *Provider) CreationOptions(c *gatebook.Ceremony, owner *gatebook.PasskeyOwner) (json.RawMessage, error) {
	rp, err := p.party(c.Origin)
	if err != nil {
		return nil, err
	}
	list, err := descriptors(c.Credentials)
	if err != nil {
		return nil, err
	}
	o := creationOptions{Challenge: c.Challenge, RP: rpEntity{rp.name, rp.id},
		User:    userEntity{owner.Handle, owner.Name, owner.DisplayName},
		Timeout: p.cfg.Timeout.Milliseconds(), Attestation: "none",
		ExcludeCredentials: list, Selection: p.selection, Extensions: extensions{CredProps: true}}
	for _, alg := range algorithms {
		o.PubKeyCredParams = append(o.PubKeyCredParams, parameter{int64(alg), "public-key"})
	}
	return encode(o)
}

// descriptors names stored passkeys to a browser.
func descriptors(stored []gatebook.Authenticator) ([]descriptor, error) {
	list := make([]descriptor, len(stored))
	for i, a := range stored {
		id, err := base64.StdEncoding.DecodeString(a.CredentialID)
		if err != nil {
			return nil, fmt.Errorf("passkey: a stored credential id is no standard base64: %w", err)
		}
		list[i] = descriptor{base64.RawURLEncoding.EncodeToString(id), "public-key", a.Transports}
	}
	return list, nil
}

// encode returns v as JSON with <, > and & as they are.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("passkey: encode options: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
