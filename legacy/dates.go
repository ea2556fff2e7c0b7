package legacy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// textCheck is a field with a date, time or number that the source has as text. PostgreSQL would guess the order of a date's
// parts, take words such as now and today for the moment of the load, and pass over commas in money.
type textCheck struct {
	field  int
	name   string
	kind   kind
	layout string        // of time.Parse, where the mapping names a format; else the text has to be in ISO order
	number *numberFormat // where the mapping names one
	plain  bool          // a number without separators
}

const isoDay = `[0-9]{4,7}-[0-9]{2}-[0-9]{2}|[0-9]{8}`

// isoTexts are texts of each kind with one reading.
var isoTexts = map[kind]*regexp.Regexp{
	kindDate: regexp.MustCompile(`^(?:(?:` + isoDay + `)(?:[ T]00:00(?::00(?:\.0+)?)?Z?)?(?: BC)?|-?infinity)$`),
	kindTime: regexp.MustCompile(`^[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?$`),
	kindTimestamp: regexp.MustCompile(`^(?:(?:` + isoDay +
		`)(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?(?: BC)?|-?infinity)$`),
	kindInstant: regexp.MustCompile(`^(?:(?:` + isoDay +
		`)(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?(?:Z|z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2})?)?))?)?(?: BC)?|-?infinity)$`),
}

// dateTokens are the parts of date_format, longest first, with what time.Parse calls them.
var dateTokens = strings.NewReplacer("YYYY", "2006", "HH24", "15", "HH12", "03", "Month", "January", "MM", "01", "Mon", "Jan", "DD", "02",
	"YY", "06", "MI", "04", "SS", "05", "AM", "PM", "PM", "PM", "TZH:TZM", "-07:00")

// dateLayout is a date_format as time.Parse takes it. A fraction of seconds may follow SS.
func dateLayout(format string) (string, error) {
	layout := dateTokens.Replace(format)
	if layout == format || strings.ContainsAny(strings.NewReplacer("January", "", "Jan", "", "PM", "").Replace(layout), "DMYHS") {
		return "", fmt.Errorf("date_format %q is made of YYYY, YY, MM, Mon, Month, DD, HH24, HH12, MI, SS, AM and TZH:TZM, such as DD/MM/YYYY", format)
	}
	return layout, nil
}

// textChecks are the fields of a query whose texts have to be looked at: a database writes its own dates, times and numbers in
// one way.
func (i *Importer) textChecks(q *query) []textCheck {
	spec := i.m.Sources[q.table.Source]
	var checks []textCheck
	for n, f := range q.fields {
		check := textCheck{field: n, name: f.name, kind: f.kind}
		switch f.conv.reading {
		case readDate:
			if format := cmp.Or(f.column.DateFormat, spec.DateFormat); format != "" && f.kind != kindTime {
				check.layout, _ = dateLayout(format) // checkFormats has seen it
			}
		case readNumber, readMoney:
			format := f.column.NumberFormat
			if format == "" && i.textColumn(q.table, f) {
				format = spec.NumberFormat
			}
			if format != "" {
				check.number, _ = parseNumberFormat(format) // checkFormats has seen it
			}
			check.plain = check.number == nil && f.conv.reading == readMoney
			if check.number == nil && !check.plain {
				continue // PostgreSQL refuses what is no number
			}
		default:
			continue
		}
		checks = append(checks, check)
	}
	return checks
}

// textColumn tells whether a field's values are texts in the source, of which a format of the whole source speaks.
func (i *Importer) textColumn(t *Table, f field) bool {
	if i.m.realStore(t.Source) == storeFiles {
		csv, _ := format(t.From)
		return csv
	}
	c := i.sourceTable(t).column(f.column.From)
	return c != nil && c.kind == kindText
}

// checkFormats refuses a mapping with a date_format or a number_format that is none.
func (m *Mapping) checkFormats() error {
	var dates, numbers []string
	for _, s := range m.Sources {
		dates, numbers = append(dates, s.DateFormat), append(numbers, s.NumberFormat)
	}
	for _, t := range m.Tables {
		for _, c := range t.Columns {
			dates, numbers = append(dates, c.Column.DateFormat), append(numbers, c.Column.NumberFormat)
		}
	}
	for _, f := range dates {
		if _, err := dateLayout(f); f != "" && err != nil {
			return tenant.Invalid("write it as in DD/MM/YYYY HH24:MI:SS", "%v", err)
		}
	}
	for _, f := range numbers {
		if _, err := parseNumberFormat(f); f != "" && err != nil {
			return tenant.Invalid("write it as in 1.234,56", "%v", err)
		}
	}
	return nil
}

// checkTexts makes a record with a text that has two readings one that cannot be read, writes dates of a format that the
// mapping names in ISO order, and numbers of such a format with a point alone.
func (q *query) checkTexts(rec *record) {
	if q.maxRow > 0 && !q.binary && int64(len(rec.line)) > q.maxRow {
		// A line is longer than its values by what is escaped in it.
		if rec.tooLong = valueBytes(rec.line); rec.tooLong > q.maxRow {
			rec.line = nil
			return
		}
		rec.tooLong = 0
	}
	if len(q.texts) == 0 || rec.line == nil {
		return
	}
	fields, _ := splitLine(rec.line, nil, nil)
	changed := false
	for _, c := range q.texts {
		if fields[c.field] == nil {
			continue
		}
		text, err := c.read(string(fields[c.field]))
		if err != nil {
			rec.line, rec.broken = nil, err.Error()
			return
		}
		if text != string(fields[c.field]) {
			fields[c.field], changed = []byte(text), true
		}
	}
	if !changed {
		return
	}
	var line []byte
	for _, f := range fields {
		if f == nil {
			line = appendNull(line)
		} else {
			line = append(appendEscaped(line, f), '\t')
		}
	}
	rec.line = endLine(line)
}

// valueBytes is how many bytes a line's values have.
func valueBytes(line []byte) (total int64) {
	fields, _ := splitLine(line, nil, nil)
	for _, f := range fields {
		total += int64(len(f))
	}
	return total
}

// read gives a text as PostgreSQL cannot misread it.
func (c *textCheck) read(text string) (string, error) {
	switch {
	case c.number != nil:
		if plain, ok := c.number.plain(text); ok {
			return plain, nil
		}
		return "", fmt.Errorf("%s is not in the number_format of the mapping (column %s)", shown(text), c.name)
	case c.plain:
		if plainNumber.MatchString(text) {
			return text, nil
		}
		return "", fmt.Errorf("%s is no number without separators; name its number_format in the mapping (column %s)", shown(text), c.name)
	}
	return c.readDate(text)
}

// readDate gives a date's text in ISO order.
func (c *textCheck) readDate(text string) (string, error) {
	if c.layout == "" {
		if isoTexts[c.kind].MatchString(text) {
			return text, nil
		}
		return "", fmt.Errorf("%s is no %s in ISO order; name its date_format in the mapping (column %s)", shown(text), c.kind, c.name)
	}
	at, err := time.Parse(c.layout, text)
	if err != nil {
		return "", fmt.Errorf("%s is not in the date_format of the mapping (column %s)", shown(text), c.name)
	}
	switch {
	case c.kind == kindDate:
		return at.Format("2006-01-02"), nil
	case c.kind == kindInstant:
		return at.Format("2006-01-02 15:04:05.999999999-07:00"), nil
	}
	return at.Format("2006-01-02 15:04:05.999999999"), nil
}

// readRows reads a part as the query wants its texts.
func readRows(ctx context.Context, s source, q *query, p part, after string, yield func(*record) error) error {
	return s.read(ctx, q, p, after, func(rec *record) error {
		q.checkTexts(rec)
		return yield(rec)
	})
}

// rereadRows reads rows of a rejects file as the query wants their texts.
func rereadRows(ctx context.Context, s source, q *query, rows []json.RawMessage, yield func(*record) error) error {
	return s.reread(ctx, q, rows, func(rec *record) error {
		q.checkTexts(rec)
		return yield(rec)
	})
}
