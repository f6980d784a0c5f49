package claims

import "encoding/json"

// Decode returns the member of o called name decoded as a T. It reports false
// when there is none, when it is null, or when it is no T.
func Decode[T any](o *Object, name string) (T, bool) {
	var v T
	raw, ok := o.Get(name)
	if !ok || string(raw) == "null" {
		return v, false
	}
	if json.Unmarshal(raw, &v) != nil {
		var zero T
		return zero, false
	}
	return v, true
}
