package legacy

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/tenant"
)

func (l *load) refuse(ctx context.Context, rec *record, to int32) error {
	x := reject{tenant: to, ref: bytes.Clone(rec.ref)}
	if rec.key != nil {
		key := string(rec.key)
		x.key = &key
	}
	switch {
	case rec.broken != "":
		x.code, x.reason = codeUnreadable, rec.broken
	case rec.tooLong > 0:
		x.code, x.reason = codeTooLong, fmt.Sprintf("the row has %d bytes, more than the %d of max_row_bytes", rec.tooLong, l.p.q.maxRow)
	case rec.orphan != "":
		x.code, x.reason = codeOrphan, rec.orphan
	case rec.key == nil:
		x.code, x.reason = codeNoKey, "the tenant's key is NULL"
	default:
		x.code, x.reason = codeUnknownKey, fmt.Sprintf("no tenant of the list has the key %s", *x.key)
	}
	return l.set(ctx, x)
}

func (l *load) set(ctx context.Context, x reject) error {
	if x.tenant < 0 {
		l.nobody.Rejected++
	} else {
		l.refused[x.tenant]++
	}
	l.rejects = append(l.rejects, x)
	l.p.rejected.Add(1)
	l.rejected.Add(1)
	l.noteReason(l.p.name, x.reason)
	if l.p.table.OnError == "fail" {
		return &tenant.Error{
			Kind: tenant.ErrInvalid, Code: x.code, Msg: fmt.Sprintf("a row of %s does not fit: %s", l.p.name, x.reason),
			Hint: "fix it in the source, or set on_error: reject in the mapping to set such rows aside",
		}
	}
	if len(l.rejects) < rejectsAtOnce {
		return nil
	}
	if err := l.overBudget(); err != nil {
		return err
	}
	return l.writeRejects(ctx)
}

func (l *load) writeRejects(ctx context.Context) error {
	rows, err := l.originalsOf(ctx)
	if err != nil {
		return err
	}
	l.rejects = l.rejects[:0]
	return targetError("record the rejects", l.held.Record(ctx, l.tx, l.p.name, tenant.ImportPart{}, nil, rows))
}

func (l *load) originalsOf(ctx context.Context) ([]tenant.ImportReject, error) {
	if len(l.rejects) == 0 {
		return nil, nil
	}
	refs := make([][]byte, len(l.rejects))
	for n, x := range l.rejects {
		refs[n] = x.ref
	}
	found, err := l.p.src.originals(ctx, l.p.q, refs)
	if err != nil {
		return nil, err
	}
	out := make([]tenant.ImportReject, len(l.rejects))
	for n, x := range l.rejects {
		out[n] = tenant.ImportReject{Target: l.p.name, TenantKey: x.key, Key: found[n].key, Code: x.code, Reason: x.reason, Sum: x.sum}
		if l.sumsInSource() {
			out[n].Sum = found[n].sum
		}
		if x.tenant >= 0 {
			out[n].Tenant = l.list[l.p.tenants[x.tenant]].tenant.ID
		}
		if found[n].row != nil {
			text := strings.ReplaceAll(string(found[n].row), "\x00", "\uFFFD")
			out[n].Row = &text
		}
	}
	return out, nil
}

func (l *load) setRow(ctx context.Context, to, row int32, pg *pgconn.PgError) error {
	key := l.list[l.p.tenants[to]].key
	x := reject{tenant: to, ref: bytes.Clone(l.a.ref(row)), code: pg.Code, reason: told(pg)}
	if !l.p.copied {
		x.key = &key
	}
	if !l.sumsInSource() && !strings.HasPrefix(pg.Code, "22") {
		var err error
		if x.sum, err = l.sumOf(ctx, l.a.line(row)); err != nil {
			return err
		}
	}
	return l.set(ctx, x)
}

func (l *load) sumsInSource() bool { return digesterOf(l.p) != nil }

func (l *load) sumOf(ctx context.Context, line []byte) (*uint64, error) {
	fields, _ := splitLine(line, nil, nil)
	cells, args := make([]string, len(l.p.q.fields)), make([]any, len(l.p.q.fields))
	for n, f := range l.p.q.fields {
		cells[n] = fmt.Sprintf("$%d::text::%s::text", n+1, f.typ)
		if fields[n] != nil {
			args[n] = string(fields[n])
		}
	}
	var sum int64
	err := pgx.BeginFunc(ctx, l.tx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, "SELECT "+checksumSQL(l.p.q.fields, cells), args...).Scan(&sum)
	})
	if valueError(err) {
		return nil, nil // its values do not fit the types: nothing to compute
	}
	u := uint64(sum)
	return &u, targetError("compute a checksum", err)
}

func told(pg *pgconn.PgError) string {
	text := pg.Message
	if pg.ColumnName != "" && !strings.Contains(text, pg.ColumnName) {
		text += " (column " + pg.ColumnName + ")"
	} else if m := columnPattern.FindStringSubmatch(pg.Where); m != nil && !strings.Contains(text, m[1]) {
		text += " (column " + m[1] + ")"
	}
	return text
}
