package gatebook

import "github.com/gatebook/gatebook/internal/secret"

// Secret is a token, key or password, with string as its underlying type. It
// prints, logs and marshals as "[redacted]"; string(s) gives the value to code
// that needs it. It is the same type as authjs.Secret.
type Secret = secret.Secret
