package legacy

import (
	"fmt"
	"regexp"
	"strings"
)

// numberFormat is how a source writes numbers, by an example: 1.234,56 or 1,234.56, with a space or an apostrophe between the
// thousands, or 1234,56 without anything there.
type numberFormat struct {
	shape     *regexp.Regexp
	thousands string
	decimal   string
}

var exampleShape = regexp.MustCompile(`^1([., '_\x{a0}\x{202f}]?)234([.,])56$`)

// parseNumberFormat reads the example.
func parseNumberFormat(example string) (*numberFormat, error) {
	m := exampleShape.FindStringSubmatch(example)
	if m == nil || m[1] == m[2] {
		return nil, fmt.Errorf("number_format %q is not 1234.56 as the source writes it, such as 1.234,56", example)
	}
	f := &numberFormat{thousands: m[1], decimal: m[2]}
	whole := `[0-9]+`
	if f.thousands != "" {
		whole = `(?:[0-9]+|[0-9]{1,3}(?:` + regexp.QuoteMeta(f.thousands) + `[0-9]{3})+)`
	}
	f.shape = regexp.MustCompile(`^[+-]?` + whole + `(?:` + regexp.QuoteMeta(f.decimal) + `[0-9]+)?$`)
	return f, nil
}

// plain gives a number with a point for decimals and nothing else.
func (f *numberFormat) plain(text string) (string, bool) {
	if !f.shape.MatchString(text) {
		return "", false
	}
	if f.thousands != "" {
		text = strings.ReplaceAll(text, f.thousands, "")
	}
	return strings.Replace(text, f.decimal, ".", 1), true
}

// plainNumber is a number with one reading.
var plainNumber = regexp.MustCompile(`^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)$`)
