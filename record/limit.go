package record

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// text returns s as it is recorded: broken UTF-8 mended with U+FFFD, and cut at
// a whole character to take at most limit bytes as JSON. Counted is what is
// written, so that a payload of control characters stays within [MaxBlock] too.
func text(s string, limit int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if 6*len(s) <= limit {
		return s
	}
	size := 0
	for i, r := range s {
		switch {
		case r == '\u2028' || r == '\u2029':
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
			return s[:i]
		}
	}
	return s
}

// fits reports whether text would return s. What it returned fits.
func fits(s string, limit int) bool {
	return utf8.ValidString(s) && len(text(s, limit)) == len(s)
}

// limited returns payload with what is too long cut, and the same payload when
// nothing is.
func limited(payload any) any {
	v := reflect.ValueOf(payload)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return payload
	}
	p := planOf(v.Type())
	if p.fits(v) {
		return payload
	}
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	var names []string
	p.cut(c, "", &names)
	// Handler and Defence are written by us alone and have no such member.
	if t := c.FieldByName("Truncated"); t.IsValid() {
		t.Set(reflect.ValueOf(names))
	}
	return c.Interface()
}

// plan lists the members of a struct that can be too long. It is made once a
// type, so that an act reads no tags.
type plan []limit

type limit struct {
	field int
	kind  reflect.Kind // String, Slice, Struct, or Pointer to a struct
	name  string       // in JSON
	max   int
	plan  plan
}

var plans sync.Map // of plan by reflect.Type

func planOf(t reflect.Type) plan {
	if p, ok := plans.Load(t); ok {
		return p.(plan)
	}
	p := newPlan(t)
	plans.Store(t, p)
	return p
}

func newPlan(t reflect.Type) plan {
	var p plan
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() || f.Name == "Truncated" {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		l := limit{field: i, kind: f.Type.Kind(), name: name, max: MaxString}
		if tag, ok := f.Tag.Lookup("max"); ok {
			var err error
			if l.max, err = strconv.Atoi(tag); err != nil {
				panic("record: tag of " + t.Name() + "." + f.Name + ": " + err.Error())
			}
		}
		switch {
		case l.kind == reflect.String:
		case l.kind == reflect.Slice && f.Type.Elem().Kind() == reflect.String:
		case l.kind == reflect.Struct:
			l.plan = newPlan(f.Type)
		case l.kind == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct:
			l.plan = newPlan(f.Type.Elem())
		default:
			continue
		}
		if l.kind == reflect.String || l.kind == reflect.Slice || len(l.plan) > 0 {
			p = append(p, l)
		}
	}
	return p
}

func (p plan) fits(v reflect.Value) bool {
	for i := range p {
		l := &p[i]
		f := v.Field(l.field)
		switch l.kind {
		case reflect.String:
			if !fits(f.String(), l.max) {
				return false
			}
		case reflect.Slice:
			if f.Len() > MaxList {
				return false
			}
			for i := range f.Len() {
				if !fits(f.Index(i).String(), l.max) {
					return false
				}
			}
		case reflect.Struct:
			if !l.plan.fits(f) {
				return false
			}
		case reflect.Pointer:
			if !f.IsNil() && !l.plan.fits(f.Elem()) {
				return false
			}
		}
	}
	return true
}

// cut mends and shortens v, which it may set, and adds to names the JSON paths
// of what lost something. What v points to belongs to somebody else and is
// copied.
func (p plan) cut(v reflect.Value, path string, names *[]string) {
	for i := range p {
		l := &p[i]
		f := v.Field(l.field)
		name := path + l.name
		switch l.kind {
		case reflect.String:
			s, lost := shorten(f.String(), l.max)
			f.SetString(s)
			if lost {
				*names = append(*names, name)
			}
		case reflect.Slice:
			lost := f.Len() > MaxList
			c := reflect.MakeSlice(f.Type(), min(f.Len(), MaxList), min(f.Len(), MaxList))
			for i := range c.Len() {
				s, l := shorten(f.Index(i).String(), l.max)
				c.Index(i).SetString(s)
				lost = lost || l
			}
			f.Set(c)
			if lost {
				*names = append(*names, name)
			}
		case reflect.Struct:
			l.plan.cut(f, name+".", names)
		case reflect.Pointer:
			if !f.IsNil() {
				c := reflect.New(f.Type().Elem())
				c.Elem().Set(f.Elem())
				f.Set(c)
				l.plan.cut(c.Elem(), name+".", names)
			}
		}
	}
}

// shorten returns the text of s, and whether more than broken UTF-8 was lost.
func shorten(s string, limit int) (string, bool) {
	t := text(s, limit)
	return t, len(t) < len(text(s, math.MaxInt))
}
