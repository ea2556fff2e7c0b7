package legacy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// rejectLine is a line of a rejects file.
type rejectLine struct {
	ID     int64           `json:"id"`
	Table  string          `json:"table"`
	Tenant tenant.Name     `json:"tenant,omitempty"`
	Key    *string         `json:"tenant_key"`
	RowKey json.RawMessage `json:"key"`
	Code   string          `json:"code"`
	Reason string          `json:"reason"`
	Row    json.RawMessage `json:"row"`

	owner uuid.UUID // by the catalog
}

// WriteRejects writes the rows that an import has set aside as NDJSON, each with its reason, and tells how many there are.
// Those of tables that the mapping does not load any more stay in the catalog alone.
func WriteRejects(ctx context.Context, s *tenant.Service, m *Mapping, w io.Writer) (int64, error) {
	b := bufio.NewWriter(w)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	var n int64
	err := s.Rejects(ctx, m.Name, "", func(r tenant.ImportReject) error {
		if !m.loads(r.Target) {
			return nil
		}
		n++
		line := rejectLine{ID: r.ID, Table: r.Target, Tenant: r.Name, Key: r.TenantKey, Code: r.Code, Reason: r.Reason, Row: json.RawMessage("null")}
		line.RowKey = json.RawMessage(r.Key)
		if !json.Valid(line.RowKey) {
			line.RowKey = json.RawMessage(jsonString(r.Key))
		}
		if r.Row != nil && json.Valid([]byte(*r.Row)) {
			line.Row = json.RawMessage(*r.Row)
		}
		return e.Encode(line)
	})
	return n, errors.Join(err, b.Flush())
}

// loadRejects loads the rows of a rejects file, mended or as they are, by the mapping. Those that still do not fit stay
// among the rejects.
func (r *run) loadRejects(ctx context.Context) error {
	byTable := map[string][]rejectLine{}
	scan := bufio.NewScanner(bytes.NewReader(r.Rejects))
	scan.Buffer(nil, int(r.MaxRow)+1<<20)
	for n := 1; scan.Scan(); n++ {
		if len(bytes.TrimSpace(scan.Bytes())) == 0 {
			continue
		}
		var line rejectLine
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil || line.ID == 0 {
			return tenant.Invalid("leave everything but row as the import wrote it", "line %d of the rejects file cannot be read", n)
		}
		if string(line.Row) == "null" || len(line.Row) == 0 {
			return tenant.Invalid("take the line out, and fix the row in the source", "line %d of the rejects file has no row: it was too long to keep", n)
		}
		if line.Row[0] != '{' {
			return tenant.Invalid("leave everything but row as the import wrote it", "line %d of the rejects file has a row that is no object", n)
		}
		byTable[line.Table] = append(byTable[line.Table], line)
	}
	if err := scan.Err(); err != nil {
		return tenant.Invalid("leave everything but row as the import wrote it", "the rejects file cannot be read: %v", err)
	}
	waiting := map[int64]uuid.UUID{} // whose they are
	if err := r.Service.Rejects(ctx, r.m.Name, "", func(x tenant.ImportReject) error { waiting[x.ID] = x.Tenant; return nil }); err != nil {
		return err
	}
	known := map[string]bool{}
	for _, level := range r.levels() {
		for _, t := range level {
			known[t.Name()] = true
			lines := byTable[t.Name()][:0:0]
			for _, l := range byTable[t.Name()] {
				// One that was loaded by an earlier run of the same file is passed over.
				if owner, ok := waiting[l.ID]; ok {
					l.owner = owner
					lines = append(lines, l)
				}
			}
			if err := r.reloadTable(ctx, t, lines); err != nil {
				return err
			}
		}
	}
	for name := range byTable {
		if !known[name] {
			return tenant.Invalid("it names tables by their targets", "the rejects file has rows of %s, which the mapping does not load", name)
		}
	}
	return nil
}

func (r *run) reloadTable(ctx context.Context, t *Table, lines []rejectLine) error {
	if len(lines) == 0 {
		return nil
	}
	p := &pass{table: t, src: r.sources[t.Source], name: t.Name(), tenants: r.recipients(t), byKey: map[string]int32{}, copied: t.Shared != "", strangers: true, of: int64(len(lines))}
	whole, err := r.whole(ctx, p.name)
	if err != nil {
		return err
	}
	var later []string
	for n, at := range p.tenants {
		if p.copied || whole[r.tenantAt(at)] {
			p.byKey[r.list[at].key] = int32(n)
		} else {
			later = append(later, string(r.list[at].tenant.Name)) // the load to come reads all of its rows
		}
	}
	if len(later) > 0 {
		r.report.Notes = append(r.report.Notes, fmt.Sprintf("%s is not loaded for %s: rows of theirs stay set aside until the import has run without --rejects", p.name, strings.Join(later, ", ")))
	}
	p.q = r.query(t, "", nil)
	a := r.takeArena(1, t.ToCollection != "")
	defer r.giveArena(a)
	for _, line := range lines {
		if err := r.reloadRow(ctx, p, line, a); err != nil {
			return err
		}
		r.Events(Event{Table: p.name, Rows: p.read.Add(1), Of: p.of, Reject: p.rejected.Load()})
	}
	r.Events(Event{Table: p.name, Rows: p.read.Load(), Of: p.of, Reject: p.rejected.Load(), End: true})
	return r.finishReloaded(ctx, p)
}

// finishReloaded finishes what rows were loaded into.
func (r *run) finishReloaded(ctx context.Context, p *pass) error {
	if p.table.ToCollection != "" {
		return nil
	}
	return r.finishTables(ctx, p)
}

// reloadRow loads one row of a rejects file in a transaction of its own.
func (r *run) reloadRow(ctx context.Context, p *pass, line rejectLine, a *arena) error {
	l := &load{run: r, p: p, a: a}
	a.reset()
	l.loaded, l.refused = make([]int64, len(p.tenants)), make([]int64, len(p.tenants))
	var err error
	if l.conn, err = r.Postgres.Acquire(ctx); err != nil {
		return targetError("connect", err)
	}
	defer l.conn.Release()
	defer l.rollback(ctx)
	if err := l.begin(ctx); err != nil {
		return err
	}
	fits, key := true, ""
	err = rereadRows(ctx, p.src, p.q, []json.RawMessage{line.Row}, func(rec *record) error {
		to, _ := l.owner(rec)
		if t := p.table; !p.copied && t.toMany() && line.owner != uuid.Nil && (to < 0 || l.tenantID(p, to) != line.owner) {
			return nil // another tenant's, which has it
		}
		if to < 0 || rec.tooLong > 0 || rec.broken != "" {
			fits = false
			return nil
		}
		a.add(to, rec.ref, rec.line)
		key = l.keyOf(rec.line)
		if key == "null" { // without a primary key a row is named by its checksum
			sum, err := l.sumOf(ctx, rec.line)
			if err != nil || sum == nil {
				return err
			}
			key = fmt.Sprintf(`["%d"]`, int64(*sum))
		}
		return nil
	})
	if _, ofRow := rowError(err); ofRow {
		p.rejected.Add(1)
		return nil // its values are none of the source's columns
	}
	if err != nil {
		return err
	}
	before := r.rejected.Load()
	if err := l.writeMended(ctx, line); err != nil {
		return err
	}
	if !fits || r.rejected.Load() > before || len(a.rows) == 0 && sumOf(l.loaded) == 0 {
		p.rejected.Add(1)
		return nil // as it was: the transaction is rolled back
	}
	var counts []tenant.ImportCount
	for n, loaded := range l.loaded {
		if loaded > 0 {
			counts = append(counts, tenant.ImportCount{Tenant: r.tenantID(p, int32(n)), Loaded: loaded})
		}
	}
	if err := r.held.Resolve(ctx, l.tx, line.ID, key); err != nil {
		return targetError("record a row as mended", err)
	}
	if err := r.held.Record(ctx, l.tx, p.name, tenant.ImportPart{}, counts, nil); err != nil {
		return targetError("record a row as mended", err)
	}
	if err := l.tx.Commit(ctx); err != nil {
		return targetError("commit", err)
	}
	l.tx = nil
	return nil
}

// writeMended loads what is in the arena. A shared row goes to the one tenant that lacks it.
func (l *load) writeMended(ctx context.Context, line rejectLine) error {
	if !l.p.copied {
		return l.flush(ctx)
	}
	for n := range l.p.tenants {
		if l.tenantID(l.p, int32(n)) != line.owner {
			continue
		}
		for row := range l.a.rows {
			if err := l.write(ctx, int32(n), []int32{int32(row)}); err != nil {
				return err
			}
		}
	}
	return nil
}

func sumOf(n []int64) (total int64) {
	for _, v := range n {
		total += v
	}
	return total
}

// tell fills the report from the catalog: it is the same whichever run loaded the rows.
func (r *run) tell(ctx context.Context) error {
	loads, err := r.Service.ImportLoads(ctx, r.m.Name)
	if err != nil {
		return err
	}
	type place struct {
		target string
		tenant [16]byte
	}
	byPlace := map[place]tenant.ImportLoad{}
	for _, l := range loads {
		byPlace[place{l.Target, l.Tenant}] = l
	}
	for _, t := range r.wanted() {
		report := TableReport{Table: t.Name(), Tenants: []TenantReport{}}
		if r.Since != "" {
			report.Counts = r.topped[t.Name()]
			r.report.Tables = append(r.report.Tables, report)
			r.report.Totals.add(report.Counts)
			continue
		}
		add := func(name tenant.Name, l tenant.ImportLoad) {
			c := Counts{Source: l.Loaded + l.Rejected, Loaded: l.Loaded, Rejected: l.Rejected}
			report.Tenants = append(report.Tenants, TenantReport{name, c})
			report.Counts.add(c)
		}
		for _, at := range r.recipients(t) {
			if l, ok := byPlace[place{t.Name(), r.tenantAt(at)}]; ok {
				add(r.list[at].tenant.Name, l)
			}
		}
		if l, ok := byPlace[place{t.Name(), [16]byte{}}]; ok && l.Rejected > 0 && t.Shared != SharedSchema {
			add("", l)
		}
		r.report.Tables = append(r.report.Tables, report)
		r.report.Totals.add(report.Counts)
	}
	return nil
}

// count is the dry run: rows per table and tenant, and nothing written.
func (r *run) count(ctx context.Context) error {
	for name, s := range r.sources {
		limits, err := s.begin(ctx)
		if err != nil {
			return err
		}
		defer s.end()
		if limits != "" {
			r.report.Notes = append(r.report.Notes, "source "+name+": "+limits)
		}
	}
	for _, at := range r.scope {
		if !r.list[at].there {
			r.report.Created++
		}
	}
	for _, t := range r.wanted() {
		q := r.query(t, r.sinceOf(t), nil)
		counts := map[string]int64{}
		parts, err := r.sources[t.Source].parts(ctx, q, r.PartSize)
		if err != nil {
			return err
		}
		// The fields are not needed to count.
		q.fields, q.document = nil, false
		for _, one := range parts {
			err := r.sources[t.Source].read(ctx, q, one, "", func(rec *record) error {
				key := nobody
				if rec.key != nil || t.Shared != "" {
					key = string(rec.key)
				}
				counts[key]++
				return nil
			})
			if err != nil {
				return err
			}
		}
		r.report.Tables = append(r.report.Tables, r.planned(t, counts))
		r.report.Totals.add(r.report.Tables[len(r.report.Tables)-1].Counts)
	}
	return nil
}

func (r *run) planned(t *Table, counts map[string]int64) TableReport {
	report := TableReport{Table: t.Name(), Tenants: []TenantReport{}}
	for _, at := range r.recipients(t) {
		e := r.list[at]
		name := e.tenant.Name
		if !e.there {
			name = tenant.Name(strings.ToLower(e.request.Name))
		}
		n := counts[e.key]
		if t.Shared != "" {
			n = counts[""]
		} else {
			delete(counts, e.key)
		}
		report.Tenants = append(report.Tenants, TenantReport{name, Counts{Source: n}})
		report.Source += n
	}
	if t.Shared != "" || !r.everyone {
		return report
	}
	var strangers int64
	for _, n := range counts {
		strangers += n
	}
	if strangers > 0 {
		report.Tenants = append(report.Tenants, TenantReport{"", Counts{Source: strangers, Rejected: strangers}})
		report.Source += strangers
		report.Rejected += strangers
	}
	return report
}

// String is a difference for a person.
func (d Difference) String() string {
	var parts []string
	if d.Tenant != "" {
		parts = append(parts, fmt.Sprintf("tenant %s", d.Tenant))
	}
	if d.Key != "" {
		parts = append(parts, "row "+d.Key)
	}
	return strings.Join(append(parts, d.What), ": ")
}
