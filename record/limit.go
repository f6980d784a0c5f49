package record

import (
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// limited returns payload with what is too long cut, and the same payload when
// nothing is.
func limited(payload any) any {
	v := reflect.ValueOf(payload)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || !tooLong(v) {
		return payload
	}
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	var names []string
	cut(c, "", &names)
	// Handler and Defence are written by us alone and have no such member.
	if t := c.FieldByName("Truncated"); t.IsValid() {
		t.Set(reflect.ValueOf(names))
	}
	return c.Interface()
}

var timeType = reflect.TypeFor[time.Time]()

func tooLong(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return keep(v.String(), MaxString) < v.Len()
	case reflect.Pointer:
		return !v.IsNil() && tooLong(v.Elem())
	case reflect.Struct:
		if v.Type() == timeType {
			return false
		}
		for i := range v.NumField() {
			if tooLong(v.Field(i)) {
				return true
			}
		}
	case reflect.Slice:
		if v.Len() > MaxList {
			return true
		}
		for i := range v.Len() {
			if keep(v.Index(i).String(), maxElement) < v.Index(i).Len() {
				return true
			}
		}
	}
	return false
}

// cut shortens what is too long in v, which it may set, and adds the JSON paths
// of it to names. What v points to belongs to somebody else and is copied.
func cut(v reflect.Value, path string, names *[]string) {
	if !tooLong(v) {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String()[:keep(v.String(), MaxString)])
		*names = append(*names, path)
	case reflect.Pointer:
		c := reflect.New(v.Type().Elem())
		c.Elem().Set(v.Elem())
		v.Set(c)
		cut(c.Elem(), path, names)
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if path != "" {
				name = path + "." + name
			}
			cut(v.Field(i), name, names)
		}
	case reflect.Slice:
		n := min(v.Len(), MaxList)
		c := reflect.MakeSlice(v.Type(), n, n)
		reflect.Copy(c, v)
		for i := range n {
			e := c.Index(i).String()
			c.Index(i).SetString(e[:keep(e, maxElement)])
		}
		v.Set(c)
		*names = append(*names, path)
	}
}

// keep returns how many bytes of s, whole characters, take at most limit bytes
// as JSON. Counted is what is written, so that a block of control characters
// stays within its limit too.
func keep(s string, limit int) int {
	if 6*len(s) <= limit {
		return len(s)
	}
	size := 0
	for i, r := range s {
		switch {
		case r == utf8.RuneError || r == '\u2028' || r == '\u2029':
			size += 6
		case r >= 0x20:
			size += utf8.RuneLen(r)
			if r == '"' || r == '\\' {
				size++
			}
		case r == '\b' || r == '\f' || r == '\n' || r == '\r' || r == '\t':
			size += 2
		default:
			size += 6
		}
		if size > limit {
			return i
		}
	}
	return len(s)
}
