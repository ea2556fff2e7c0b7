package tenant

import (
	"fmt"
	"slices"
	"strings"
)

// Selector chooses tenants by their labels; every requirement has to hold. The zero Selector chooses all.
type Selector []Requirement

// Requirement is one condition on one label.
type Requirement struct {
	Key    string
	Not    bool     // the condition is turned round; a tenant without the label fulfils a turned one
	Values []string // any of them; nil asks only whether the label is there
}

// ParseSelector reads requirements joined by commas: key=value, key==value, key!=value, key in (a,b), key notin (a,b),
// key, !key.
func ParseSelector(s string) (Selector, error) {
	var sel Selector
	for rest := strings.TrimSpace(s); rest != ""; {
		part, after, more := cutTop(rest)
		r, err := parseRequirement(part)
		if err != nil {
			return nil, err
		}
		sel = append(sel, r)
		rest = strings.TrimSpace(after)
		if more && rest == "" {
			return nil, badSelector(s, "nothing follows the last comma")
		}
	}
	return sel, nil
}

// cutTop cuts at the first comma outside parentheses.
func cutTop(s string) (before, after string, found bool) {
	depth := 0
	for i, c := range s {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth <= 0:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func badSelector(s, why string) error {
	return Invalid("write it as key=value, key!=value, key in (a,b), key notin (a,b), key or !key, joined by commas", "invalid selector %s: %s", shorten(s), why)
}

func parseRequirement(s string) (Requirement, error) {
	s = strings.TrimSpace(s)
	var r Requirement
	var key, values string
	switch i := strings.IndexAny(s, "!=("); {
	case i < 0:
		key = s
	case i == 0 && s[0] == '!' && !strings.Contains(s, "="):
		r.Not, key = true, strings.TrimSpace(s[1:])
	case s[i] == '(':
		fields := strings.Fields(s[:i])
		if len(fields) != 2 || fields[1] != "in" && fields[1] != "notin" {
			return r, badSelector(s, "expected 'in' or 'notin' before '('")
		}
		if !strings.HasSuffix(s, ")") || strings.Count(s, "(") != 1 || strings.Count(s, ")") != 1 {
			return r, badSelector(s, "the list has to end with one ')'")
		}
		key, r.Not, values = fields[0], fields[1] == "notin", s[i+1:len(s)-1]
		for v := range strings.SplitSeq(values, ",") {
			r.Values = append(r.Values, strings.TrimSpace(v))
		}
	default:
		op := "="
		for _, o := range []string{"!=", "=="} {
			if strings.HasPrefix(s[i:], o) {
				op = o
			}
		}
		if s[i] == '!' && op != "!=" {
			return r, badSelector(s, "'!' stands before a key or in '!='")
		}
		key, r.Not = strings.TrimSpace(s[:i]), op == "!="
		r.Values = []string{strings.TrimSpace(s[i+len(op):])}
	}
	r.Key = key
	if !labelKey.MatchString(key) {
		return r, badSelector(s, fmt.Sprintf("%s is no label key", shorten(key)))
	}
	for _, v := range r.Values {
		if !labelValue.MatchString(v) {
			return r, badSelector(s, fmt.Sprintf("%s is no label value", shorten(v)))
		}
	}
	return r, nil
}

// String is the selector as ParseSelector reads it.
func (sel Selector) String() string {
	parts := make([]string, len(sel))
	for i, r := range sel {
		switch {
		case r.Values == nil && r.Not:
			parts[i] = "!" + r.Key
		case r.Values == nil:
			parts[i] = r.Key
		case len(r.Values) == 1 && r.Not:
			parts[i] = r.Key + "!=" + r.Values[0]
		case len(r.Values) == 1:
			parts[i] = r.Key + "=" + r.Values[0]
		case r.Not:
			parts[i] = r.Key + " notin (" + strings.Join(r.Values, ",") + ")"
		default:
			parts[i] = r.Key + " in (" + strings.Join(r.Values, ",") + ")"
		}
	}
	return strings.Join(parts, ",")
}

// Matches tells whether labels fulfil every requirement.
func (sel Selector) Matches(labels map[string]string) bool {
	for _, r := range sel {
		v, ok := labels[r.Key]
		if ok && r.Values != nil {
			ok = slices.Contains(r.Values, v)
		}
		if ok == r.Not {
			return false
		}
	}
	return true
}

// where is the selector as SQL conditions on t.labels.
func (sel Selector) where(q *query) {
	for _, r := range sel {
		var cond string
		if r.Values == nil {
			cond = "t.labels ? " + q.arg(r.Key)
		} else {
			cond = fmt.Sprintf("coalesce(t.labels ->> %s = ANY(%s), false)", q.arg(r.Key), q.arg(r.Values))
		}
		if r.Not {
			cond = "NOT (" + cond + ")"
		}
		q.and(cond)
	}
}
