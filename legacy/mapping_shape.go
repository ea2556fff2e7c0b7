package legacy

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// shape is a JSON Schema with the keywords that mapping.schema.json uses. A library that knows them all costs every run of the
// program 5 ms, for it compiles its own schemas when the process starts; the tests hold both to the same verdicts.
type shape struct {
	Ref           string            `json:"$ref"`
	Type          oneOrMore         `json:"type"`
	Enum          []string          `json:"enum"`
	Const         *float64          `json:"const"`
	Required      []string          `json:"required"`
	Properties    map[string]*shape `json:"properties"`
	Others        *others           `json:"additionalProperties"`
	PropertyNames *shape            `json:"propertyNames"`
	MinProperties int               `json:"minProperties"`
	MaxProperties *int              `json:"maxProperties"`
	Items         *shape            `json:"items"`
	MinItems      int               `json:"minItems"`
	MinLength     int               `json:"minLength"`
	MaxLength     *int              `json:"maxLength"`
	Pattern       *regexp.Regexp    `json:"pattern"`
	Minimum       *float64          `json:"minimum"`
	Maximum       *float64          `json:"maximum"`
	OneOf         []*shape          `json:"oneOf"`
	AnyOf         []*shape          `json:"anyOf"`
	If            *shape            `json:"if"`
	Then          *shape            `json:"then"`
	Else          *shape            `json:"else"`
	Defs          map[string]*shape `json:"$defs"`
}

// oneOrMore is a list that is written without brackets where it has one item.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(text []byte) error {
	if text[0] == '[' {
		return json.Unmarshal(text, (*[]string)(o))
	}
	*o = []string{""}
	return json.Unmarshal(text, &(*o)[0])
}

// others is what keys without a shape of their own have: false, or a shape.
type others struct {
	refused bool
	shape   *shape
}

func (o *others) UnmarshalJSON(text []byte) error {
	if o.refused = string(text) == "false"; o.refused {
		return nil
	}
	return json.Unmarshal(text, &o.shape)
}

// mappingShape is that of the whole file.
var mappingShape = sync.OnceValue(func() *shape {
	var s shape
	if err := json.NewDecoder(bytes.NewReader(Schema)).Decode(&s); err != nil {
		panic(err)
	}
	return &s
})

// violation tells of a value that does not meet one keyword of its shape.
type violation struct {
	path    []string
	keyword string
	shape   *shape
	got     any
	names   []string // of keys that are missing, unknown or misnamed; of types that are wanted
}

// requireOne is the keyword of a violation where one of several keys has to be there.
const requireOne = "one of required"

// violations are what is wrong with a value at a path.
func (s *shape) violations(path []string, value any) []violation {
	if s.Ref != "" {
		return mappingShape().Defs[strings.TrimPrefix(s.Ref, "#/$defs/")].violations(path, value)
	}
	var found []violation
	miss := func(bad bool, keyword string, names ...string) {
		if bad {
			found = append(found, violation{path, keyword, s, value, names})
		}
	}
	miss(len(s.Type) > 0 && !s.hasType(value), "type", s.Type...)
	text, isText := value.(string)
	number, isNumber := numberOf(value)
	miss(s.Enum != nil && !slices.Contains(s.Enum, text), "enum")
	miss(s.Const != nil && (!isNumber || number != *s.Const), "const")
	switch v := value.(type) {
	case map[string]any:
		found = append(found, s.violationsOfObject(path, v)...)
	case []any:
		miss(len(v) < s.MinItems, "minItems")
		for i := 0; s.Items != nil && i < len(v); i++ {
			found = append(found, s.Items.violations(below(path, strconv.Itoa(i)), v[i])...)
		}
	}
	if isText {
		length := utf8.RuneCountInString(text)
		miss(length < s.MinLength, "minLength")
		miss(s.MaxLength != nil && length > *s.MaxLength, "maxLength")
		miss(s.Pattern != nil && !s.Pattern.MatchString(text), "pattern")
	}
	if isNumber {
		miss(s.Minimum != nil && number < *s.Minimum, "minimum")
		miss(s.Maximum != nil && number > *s.Maximum, "maximum")
	}
	return append(found, s.violationsOfForms(path, value)...)
}

func (s *shape) violationsOfObject(path []string, object map[string]any) []violation {
	var found []violation
	miss := func(keyword string, names ...string) {
		found = append(found, violation{path, keyword, s, object, names})
	}
	if len(object) < s.MinProperties {
		miss("minProperties")
	}
	if s.MaxProperties != nil && len(object) > *s.MaxProperties {
		miss("maxProperties")
	}
	var missing, unknown []string
	for _, key := range s.Required {
		if _, ok := object[key]; !ok {
			missing = append(missing, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		one := s.Properties[key]
		if one == nil && s.Others != nil {
			one = s.Others.shape
		}
		switch {
		case one != nil:
			found = append(found, one.violations(below(path, key), object[key])...)
		case s.Others != nil && s.Others.refused:
			unknown = append(unknown, key)
		}
		if s.PropertyNames != nil && len(s.PropertyNames.violations(path, key)) > 0 {
			miss("propertyNames", key)
		}
	}
	if missing != nil {
		miss("required", missing...)
	}
	if unknown != nil {
		miss("additionalProperties", unknown...)
	}
	return found
}

// violationsOfForms goes by the keywords that choose between shapes.
func (s *shape) violationsOfForms(path []string, value any) []violation {
	var found []violation
	if s.If != nil {
		chosen := s.Then
		if len(s.If.violations(path, value)) > 0 {
			chosen = s.Else
		}
		found = chosen.violations(path, value)
	}
	fits := func(form *shape) bool { return len(form.violations(path, value)) == 0 }
	if s.AnyOf != nil && !slices.ContainsFunc(s.AnyOf, fits) {
		found = append(found, violation{path, "anyOf", s, value, nil})
	}
	if s.OneOf == nil {
		return found
	}
	var fitting []*shape
	for _, form := range s.OneOf {
		if fits(form) {
			fitting = append(fitting, form)
		}
	}
	switch len(fitting) {
	case 0:
		return append(found, s.violationsOfMeant(path, value)...)
	case 1:
		return found
	}
	return append(found, violation{path, "oneOf", s, value, append(slices.Clone(fitting[0].Required), fitting[1].Required...)})
}

// violationsOfMeant chooses, where none of several forms fits, the one that was meant: that of the same type.
func (s *shape) violationsOfMeant(path []string, value any) []violation {
	var types, missing []string
	keysAlone := true
	for _, form := range s.OneOf {
		found := form.violations(path, value)
		wrongType, keys := false, false
		for _, m := range found {
			switch {
			case len(m.path) > len(path):
			case m.keyword == "type":
				wrongType = true
				types = append(types, m.names...)
			case m.keyword == "required" && len(found) == 1:
				keys = true
				missing = append(missing, m.names...)
			}
		}
		if !wrongType && len(missing) == 0 {
			return found
		}
		keysAlone = keysAlone && keys
	}
	if keysAlone {
		return []violation{{path, requireOne, s, value, missing}}
	}
	return []violation{{path, "type", s, value, types}}
}

func (s *shape) hasType(value any) bool {
	n, isNumber := numberOf(value)
	return slices.Contains(s.Type, typeOf(value)) || isNumber && n == math.Trunc(n) && slices.Contains(s.Type, "integer")
}

// typeOf is a value's type in JSON, as JSON Schema names it.
func typeOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "number"
}

// numberOf is the value of what YAML reads as a number.
func numberOf(value any) (float64, bool) {
	switch n := value.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}
