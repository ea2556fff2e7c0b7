package legacy

import (
	"context"
	"fmt"
	"math/big"
	"strings"

	"github.com/jackc/pgx/v5"
)

// checksum is the SQL of a row's checksum, a signed 64-bit number: the first half of the MD5 of its fields' texts.
func (s *postgresSource) checksum(q *query) string {
	texts := make([]string, len(q.fields))
	for i, f := range q.fields {
		texts[i] = canonicalSource(s.expression("x", f.column), f)
	}
	return checksumSQL(q.fields, texts)
}

// canonicalSource is a value's text on the source's side: as the target's type writes it, where both servers know it.
func canonicalSource(expr string, f field) string {
	if f.cast == "" {
		return expr + "::text"
	}
	text := expr + "::text"
	converted := text + "::" + f.cast + "::text"
	if m := scale.FindStringSubmatch(f.cast); m != nil && strings.HasPrefix(f.cast, "character") && (f.column.From == "" || f.conv.note != "") {
		// A cast cuts what a column refuses: a text that is too long is none of the target's.
		return fmt.Sprintf("CASE WHEN octet_length(rtrim(substr(%s, %s + 1), ' ')) > 0 THEN %[1]s ELSE %[3]s END", text, m[1], converted)
	}
	return converted
}

// checksumSQL is a signed 64-bit checksum of the fields' texts, in PostgreSQL. A text that may hold what stands for NULL or
// for the end of a field has its length in front.
func checksumSQL(fields []field, texts []string) string {
	cells := make([]string, len(texts))
	for i, t := range texts {
		switch fields[i].kind {
		case kindText, kindJSON, kindOther:
			t = "octet_length(" + t + ") || ':' || " + t
		}
		cells[i] = "coalesce(" + t + `, E'\x01') || E'\x1f'`
	}
	return "('x' || left(md5(" + strings.Join(cells, " || ") + "), 16))::bit(64)::bigint"
}

func (s *postgresSource) sameBytes() bool { return s.utf8 }

func (s *postgresSource) digest(ctx context.Context, q *query, without []string) (map[string]digest, error) {
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return nil, err
	}
	plain := *q
	plain.maxRow = 0
	b, err := s.buildRow(ctx, &plain, t)
	if err != nil {
		return nil, err
	}
	conds := b.conds
	if len(without) > 0 {
		keys := make([]string, len(without))
		for i, k := range without {
			keys[i] = literal(k)
		}
		conds = append(conds, fmt.Sprintf("NOT (%s = ANY(ARRAY[%s]::jsonb[]))", s.rowKey(q, t), strings.Join(keys, ", ")))
	}
	orphan := "false"
	if len(q.table.Via) > 0 {
		orphan = b.state + " IS NOT NULL"
	}
	sql := fmt.Sprintf(`SELECT CASE WHEN NOT (%s) THEN %s END, count(*), coalesce(sum(%s), 0)::text FROM %s AS x%s%s GROUP BY 1`,
		orphan, b.key, s.checksum(q), s.from(q.table.From), b.joins, where(conds))
	conn, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { s.release(conn, err) }()
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, s.failed("compute checksums of table "+q.table.From, err)
	}
	out := map[string]digest{}
	var key *string
	var d digest
	var sum string
	_, err = pgx.ForEachRow(rows, []any{&key, &d.rows, &sum}, func() error {
		return putDigest(out, key, d.rows, sum)
	})
	return out, s.failed("compute checksums of table "+q.table.From, err)
}

// nobody stands in a digest for rows without a key, or whose way to it is broken. No key of a tenant has a NUL in it.
const nobody = "\x00"

// putDigest enters a row of a server's answer; a NULL key is nobody's.
func putDigest(out map[string]digest, key *string, rows int64, sum string) error {
	n, err := modulo(sum)
	if err != nil {
		return err
	}
	k := nobody
	if key != nil {
		k = *key
	}
	out[k] = digest{rows, n}
	return nil
}

// modulo is a decimal number of any size, modulo 2^64.
func modulo(decimal string) (uint64, error) {
	n, ok := new(big.Int).SetString(decimal, 10)
	if !ok {
		return 0, fmt.Errorf("read a checksum: %q is no number", decimal)
	}
	return n.And(n, new(big.Int).SetUint64(^uint64(0))).Uint64(), nil
}
