package gatebook

import "log/slog"

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
func (s Secret) GoString() string { return `gatebook.Secret("` + s.String() + `")` }

// LogValue returns what String does, for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns what String does, so that a marshalled event or account
// gives nothing away.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
