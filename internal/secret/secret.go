// Package secret has the type of the secrets that a configuration holds, and
// finds those that the environment has for Auth.js.
package secret

import (
	"log/slog"
	"os"
)

// Secret is a token, key or password. It prints, logs and marshals as
// "[redacted]"; string(s) gives the value to code that needs it.
type Secret string

const redacted = "[redacted]"

// String returns "[redacted]", or "" for the empty Secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString returns what String does, for %#v.
func (s Secret) GoString() string { return `Secret("` + s.String() + `")` }

// LogValue returns what String does, for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns what String does, so that a marshalled event or account
// gives nothing away.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// FromEnv returns the secrets of AUTH_SECRET_3, AUTH_SECRET_2, AUTH_SECRET_1 and
// AUTH_SECRET, those that are set, in the order in which Auth.js uses them.
func FromEnv() []Secret {
	var found []Secret
	for _, name := range []string{"AUTH_SECRET_3", "AUTH_SECRET_2", "AUTH_SECRET_1", "AUTH_SECRET"} {
		if s := os.Getenv(name); s != "" {
			found = append(found, Secret(s))
		}
	}
	return found
}
