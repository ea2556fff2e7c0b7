package legacy

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// dateCheck is a field with a date or time that the source has as text. PostgreSQL would guess the order of its parts, and
// take words such as now and today for the moment of the load.
type dateCheck struct {
	field  int
	name   string
	kind   kind
	layout string // of time.Parse, where the mapping names a format; else the text has to be in ISO order
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

// dateChecks are the fields of a query whose texts have to be looked at: a database writes its own dates and times in ISO order.
func (i *Importer) dateChecks(q *query) []dateCheck {
	store, src := i.m.realStore(q.table.Source), i.sourceTable(q.table)
	var checks []dateCheck
	for n, f := range q.fields {
		if isoTexts[f.kind] == nil {
			continue
		}
		format := f.column.DateFormat
		if format == "" {
			format = i.m.Sources[q.table.Source].DateFormat
		}
		if c := src.column(f.column.From); c != nil && (store == storePostgres || store == storeMySQL) && isoTexts[c.kind] != nil {
			continue
		}
		check := dateCheck{field: n, name: f.name, kind: f.kind}
		if format != "" && f.kind != kindTime {
			check.layout, _ = dateLayout(format) // checkFormats has seen it
		}
		checks = append(checks, check)
	}
	return checks
}

// checkFormats refuses a mapping with a date_format that is none.
func (m *Mapping) checkFormats() error {
	var formats []string
	for _, s := range m.Sources {
		formats = append(formats, s.DateFormat)
	}
	for _, t := range m.Tables {
		for _, c := range t.Columns {
			formats = append(formats, c.Column.DateFormat)
		}
	}
	for _, f := range formats {
		if _, err := dateLayout(f); f != "" && err != nil {
			return tenant.Invalid("write it as in DD/MM/YYYY HH24:MI:SS", "%v", err)
		}
	}
	return nil
}

// checkDates makes a record with a date that has two readings one that cannot be read, and writes dates of a format that the
// mapping names in ISO order.
func (q *query) checkDates(rec *record) {
	if len(q.dates) == 0 || rec.line == nil {
		return
	}
	fields, _ := splitLine(rec.line, nil, nil)
	changed := false
	for _, c := range q.dates {
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

// read gives a date's text in ISO order.
func (c *dateCheck) read(text string) (string, error) {
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

// readRows reads a part as the query wants its dates.
func readRows(ctx context.Context, s source, q *query, p part, after string, yield func(*record) error) error {
	return s.read(ctx, q, p, after, func(rec *record) error {
		q.checkDates(rec)
		return yield(rec)
	})
}

// rereadRows reads rows of a rejects file as the query wants their dates.
func rereadRows(ctx context.Context, s source, q *query, rows []json.RawMessage, yield func(*record) error) error {
	return s.reread(ctx, q, rows, func(rec *record) error {
		q.checkDates(rec)
		return yield(rec)
	})
}
