package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder fills structs from YAML nodes and collects what is wrong. It walks
// the nodes itself, because an error has to name the line and the key, and the
// library's own strict mode names one of them at a time.
type decoder struct {
	name    string // of the file
	env     Lookup
	only    string // if set, the one key of the file that is looked at
	noURL   bool   // the database's URL is not looked at
	literal *bool
	lines   map[string]int // where the keys stand
	errs    []error
}

// fail notes what is wrong with a key; line 0 stands for the key's own, if the
// file has it.
func (d *decoder) fail(line int, key, format string, args ...any) {
	at := d.name
	if line == 0 {
		line = d.lines[key]
	}
	if line > 0 {
		at += ":" + strconv.Itoa(line)
	}
	if key != "" {
		at += ": " + key
	}
	d.errs = append(d.errs, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

// yamlLine is how the library names a line.
var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// flowVariable is a variable without quotes in a list or map in one line, where
// its braces are YAML's.
var flowVariable = regexp.MustCompile(`[\[,{]\s*\$\{`)

// document decodes the one document of a file.
func (d *decoder) document(data []byte, into any) {
	y := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := y.Decode(&doc)
	if errors.Is(err, io.EOF) {
		d.fail(0, "", "the file is empty: `gatebook init` writes one to begin with")
		return
	}
	if err == nil {
		if err = y.Decode(&more); err == nil {
			d.fail(more.Line, "", "a second document: the file must hold one")
			return
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		text, line := err.Error(), 0
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1])
			text = strings.TrimPrefix(text, m[0])
		}
		text = strings.TrimPrefix(text, "yaml: ")
		if strings.HasPrefix(text, "unknown anchor") { // it quotes what may be a secret
			text = "a text that begins with * is taken for an alias: put it in quotes"
		}
		if flowVariable.Match(data) {
			text += "; between [ ] and { } a variable needs quotes: \"${NAME}\""
		}
		d.fail(line, "", "%s", text)
		return
	}
	if len(doc.Content) == 0 {
		d.fail(0, "", "the file is empty: `gatebook init` writes one to begin with")
		return
	}
	d.value(doc.Content[0], reflect.ValueOf(into).Elem(), "", false)
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	databaseType = reflect.TypeFor[Database]()
)

// value decodes a node into v, which is of one of the types that Config has.
func (d *decoder) value(n *yaml.Node, v reflect.Value, key string, secret bool) {
	if n.Kind == yaml.AliasNode {
		d.fail(n.Line, key, "aliases are not supported: write the value out")
		return
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		d.fail(n.Line, key, "has no value: give it one, or remove the key")
		return
	}
	if v.Type() == databaseType && n.Kind == yaml.ScalarNode && d.noURL || d.noURL && key == "database.url" {
		return
	}
	if v.Type() == databaseType && n.Kind == yaml.ScalarNode {
		d.scalar(n, v.FieldByName("URL"), key, true)
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), key, secret)
	case v.Type() == durationType, v.Type() == prefixType, v.Kind() == reflect.String, v.Kind() == reflect.Bool:
		if n.Kind != yaml.ScalarNode {
			d.fail(n.Line, key, "wants %s, not %s", wants(v), kindOf(n))
			return
		}
		d.scalar(n, v, key, secret)
	case v.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.fail(n.Line, key, "wants a list, not %s", shapeOf(n))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, item := range n.Content {
			d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", key, i), secret || key == "secrets")
		}
	case v.Kind() == reflect.Struct:
		if n.Kind != yaml.MappingNode {
			if key == "" {
				key = "the file"
			}
			d.fail(n.Line, key, "wants keys with values, not %s", shapeOf(n))
			return
		}
		d.mapping(n, v, key)
	default:
		panic("config: no decoding for " + v.Type().String())
	}
}

func wants(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return "a duration such as 12h or 30d"
	case v.Type() == prefixType:
		return "a network such as 10.0.0.0/8"
	case v.Kind() == reflect.Bool:
		return "true or false"
	}
	return "text"
}

// shapeOf is kindOf where a secret may stand, which is not to be quoted.
func shapeOf(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return "text"
	}
	return kindOf(n)
}

func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys with values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!bool":
		return n.Value
	}
	return strconv.Quote(n.Value)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, key string) {
	fields := map[string]int{}
	var names []string
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if tag := f.Tag.Get("yaml"); tag != "-" {
			fields[tag] = i
			names = append(names, tag)
		} else if f.Name == "Line" {
			v.Field(i).SetInt(int64(n.Line))
		}
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, at := n.Content[i].Value, n.Content[i].Line
		path := name
		if key != "" {
			path = key + "." + name
		} else if d.only != "" && name != d.only {
			continue
		}
		field, ok := fields[name]
		if !ok || n.Content[i].Kind != yaml.ScalarNode {
			hint := "the keys here are " + strings.Join(names, ", ")
			if near := Nearest(name, names); near != "" {
				hint = "did you mean " + near + "?"
			}
			d.fail(at, path, "unknown key; %s", hint)
			continue
		}
		if first := seen[name]; first > 0 {
			d.fail(at, path, "is there twice, in line %d too", first)
			continue
		}
		seen[name] = at
		if d.lines == nil {
			d.lines = map[string]int{}
		}
		d.lines[path] = at
		d.value(n.Content[i+1], v.Field(field), path, v.Type().Field(field).Tag.Get("secret") != "")
	}
}

// scalar decodes a text, a truth, a duration or a network.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, key string, secret bool) {
	text, ok := d.expand(n, key, secret)
	if !ok {
		return
	}
	if v.Type() == prefixType {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			ip, err2 := netip.ParseAddr(text)
			if err = err2; err == nil {
				p = netip.PrefixFrom(ip, ip.BitLen())
			}
		}
		if err != nil {
			d.fail(n.Line, key, "wants %s, not %s", wants(v), kindOf(n))
			return
		}
		v.Set(reflect.ValueOf(p))
		return
	}
	switch {
	case v.Type() == durationType:
		age, err := parseDuration(text)
		if err != nil || age <= 0 {
			d.fail(n.Line, key, "wants %s, not %s", wants(v), kindOf(n))
			return
		}
		v.SetInt(int64(age))
	case v.Kind() == reflect.Bool:
		on, err := strconv.ParseBool(text)
		if err != nil || text != "true" && text != "false" {
			d.fail(n.Line, key, "wants %s, not %s", wants(v), kindOf(n))
			return
		}
		v.SetBool(on)
	default:
		if n.Tag == "!!bool" {
			d.fail(n.Line, key, "wants %s, not %s: put it in quotes if it is meant so", wants(v), kindOf(n))
			return
		}
		if text == "" {
			d.fail(n.Line, key, "is empty: give it a value, or remove the key")
			return
		}
		if secret && text == n.Value && (!isAddress(key) || hasPassword(text)) {
			*d.literal = true
		}
		v.SetString(text)
	}
}

// isAddress reports whether the value of a key is only a secret when it holds a
// password.
func isAddress(key string) bool { return key == "redis" || strings.HasPrefix(key, "database") }

// parseDuration is time.ParseDuration, and days.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// variable is how a text names a variable; $${NAME} stands for ${NAME} itself.
var variable = regexp.MustCompile(`\$?\$\{([^}]*)\}`)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand puts the values of variables in. It is done after the YAML was read,
// so that no value can change what the file says.
func (d *decoder) expand(n *yaml.Node, key string, secret bool) (text string, ok bool) {
	ok = true
	text = variable.ReplaceAllStringFunc(n.Value, func(m string) string {
		if strings.HasPrefix(m, "$$") {
			return m[1:]
		}
		name := m[2 : len(m)-1]
		if !variableName.MatchString(name) {
			if secret { // a part of it
				m = "${…}"
			}
			d.fail(n.Line, key, "%s is no name of a variable; write $%s for the text itself", m, m)
			ok = false
			return ""
		}
		value, found := d.env(name)
		if !found || value == "" {
			hint := ""
			if strings.HasPrefix(name, "AUTH_SECRET") {
				hint = ": export " + name + "=$(gatebook secret)"
			}
			d.fail(n.Line, key, "the environment has no %s%s", name, hint)
			ok = false
		}
		return value
	})
	return text, ok
}

// Nearest returns the candidate that a slip of the hand turned into name, or "".
func Nearest(name string, candidates []string) string {
	best, least := "", len(name)/3+2
	for _, c := range candidates {
		if n := distance(strings.ToLower(name), strings.ToLower(c)); n < least {
			best, least = c, n
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace to get from a
// to b (Levenshtein). An underscore or hyphen counts nothing: base_path is as
// good as basePath.
func distance(a, b string) int {
	strip := strings.NewReplacer("_", "", "-", "")
	a, b = strip.Replace(a), strip.Replace(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
