package legacy

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// checkSequences refuses an import, before anything is touched, where a column of the source has values that its sequence in
// the tenants does not reach: it could not be set behind them.
func (r *run) checkSequences(ctx context.Context) error {
	var faults []string
	for _, t := range r.wanted() {
		if t.ToCollection != "" {
			continue
		}
		q := r.query(t, r.sinceOf(t), nil)
		for _, f := range q.fields {
			column := r.target[t.To].column(f.name)
			if column.sequence && !column.counts() {
				r.report.Notes = append(r.report.Notes, fmt.Sprintf("%s.%s: %s", t.To, f.name, unsetSequence))
			}
			if !r.mayPass(t, f, column) {
				continue
			}
			low, high, err := r.bounds(ctx, t, f)
			if err != nil {
				return err
			}
			switch {
			case column.sequenceMax != 0 && high > column.sequenceMax:
				faults = append(faults, fmt.Sprintf("%s.%s: the source has %d, and the column's sequence ends at %d", t.To, f.name, high, column.sequenceMax))
			case column.sequenceMin != 0 && low < column.sequenceMin:
				faults = append(faults, fmt.Sprintf("%s.%s: the source has %d, and the column's sequence ends at %d", t.To, f.name, low, column.sequenceMin))
			}
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return tenant.Invalid("raise it in a migration, such as: ALTER SEQUENCE ... NO MAXVALUE, or AS bigint", "sequences of the tenants end before the data:\n%s", strings.Join(faults, "\n"))
}

// unsetSequence is the note on a column whose values say nothing of where its sequence stands.
const unsetSequence = "the default makes a text of a sequence's value: set the sequence behind the loaded values yourself"

// counts tells whether the column holds numbers such as a sequence gives.
func (c *targetColumn) counts() bool { return c.kind == kindInt || c.kind == kindDecimal }

// mayPass tells whether the source's type lets values through that the column's sequence does not reach.
func (i *Importer) mayPass(t *Table, f field, column *targetColumn) bool {
	if !column.counts() || column.sequenceMax == 0 && column.sequenceMin == 0 {
		return false
	}
	src := i.sourceTable(t).column(f.column.From)
	if src == nil || src.kind != kindInt || width(src.typ) == 0 || width(src.typ) > 4 || strings.Contains(src.typ, "unsigned") {
		return true
	}
	most := int64(1)<<(8*width(src.typ)-1) - 1
	return column.sequenceMax != 0 && column.sequenceMax < most || column.sequenceMin != 0 && column.sequenceMin > -most-1
}

// bounds are the least and the greatest value of a field in the rows that tenants of the run get.
func (r *run) bounds(ctx context.Context, t *Table, f field) (low, high int64, err error) {
	q := r.query(t, r.sinceOf(t), nil)
	q.fields, q.maxRow = []field{f}, 0
	q.texts = r.textChecks(q)
	keys := map[string]bool{}
	for _, at := range r.scope {
		keys[r.list[at].key] = true
	}
	low, high = math.MaxInt64, math.MinInt64
	src := r.sources[t.Source]
	parts, err := src.parts(ctx, q, r.PartSize)
	if err != nil {
		return 0, 0, err
	}
	for _, one := range parts {
		err := readRows(ctx, src, q, one, "", func(rec *record) error {
			if rec.line == nil || t.Shared == "" && (rec.key == nil || !keys[string(rec.key)]) {
				return nil
			}
			whole, _, _ := strings.Cut(strings.TrimSpace(string(rec.line)), ".")
			if n, err := strconv.ParseInt(whole, 10, 64); err == nil { // others are rejected, or no sequence reaches them
				low, high = min(low, n), max(high, n)
			}
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
	}
	return low, high, nil
}
