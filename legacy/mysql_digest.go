package legacy

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// checksum is the SQL of a row's checksum, an unsigned 64-bit number, over its portable texts.
func (b *mysqlSelect) checksum() string {
	texts := []string{"''"}
	for _, f := range b.fields {
		texts = append(texts, fmt.Sprintf("COALESCE(%s, CHAR(1)), CHAR(31)", portableMySQL(mysqlExpression("x", f.column), b.column(f), f)))
	}
	return "CAST(CONV(LEFT(MD5(CONCAT(" + strings.Join(texts, ", ") + ")), 16), 16, 10) AS DECIMAL(20,0))"
}

// rowKey is the SQL of the texts that name a row, each followed by the byte 0x1f, and 0x01 for NULL.
func (b *mysqlSelect) rowKey() string {
	var texts []string
	for _, f := range b.fields {
		if f.key {
			texts = append(texts, b.keyText(f))
		}
	}
	if len(texts) == 0 {
		for _, name := range b.t.primaryKey {
			texts = append(texts, mysqlText("x."+quoteMySQL(name), b.t.column(name)))
		}
	}
	if len(texts) == 0 {
		texts = []string{"CAST(" + b.checksum() + " AS CHAR)"}
	}
	for i, t := range texts {
		texts[i] = "COALESCE(" + t + ", CHAR(1)), CHAR(31)"
	}
	return "CAST(CONCAT(" + strings.Join(texts, ", ") + ") AS BINARY)"
}

// keyText is the SQL of a field's value as its record has it.
func (b *mysqlSelect) keyText(f field) string {
	expr, c := mysqlExpression("x", f.column), b.column(f)
	switch {
	case c == nil:
	case f.kind == kindBytes:
		return `CONCAT('\\x', LOWER(HEX(` + expr + `)))`
	case f.kind == kindBool && c.kind != kindText:
		return "IF(" + expr + " IS NULL, NULL, IF(" + expr + " <> 0, 't', 'f'))"
	case f.kind == kindInstant && (c.kind == kindInstant || c.kind == kindTimestamp):
		return "CONCAT(CAST(" + expr + " AS CHAR), '+00')"
	case f.kind == kindOther && strings.HasPrefix(c.typ, "bit("):
		return mysqlBits(expr, c)
	case c.kind == kindBytes && f.kind != kindUUID:
		return expr
	}
	return mysqlText(expr, c)
}

const mysqlKeysAtOnce = 20_000 // in one statement, which must stay below the server's max_allowed_packet

func (s *mysqlSource) digest(ctx context.Context, q *query, without []string) (map[string]digest, error) {
	plain := *q
	plain.document, plain.maxRow = false, 0
	b, err := s.selection(ctx, &plain)
	if err != nil {
		return nil, err
	}
	keys := b.keyLiterals(without)
	if len(keys) <= mysqlKeysAtOnce {
		return s.digestWhere(ctx, b, "NOT IN", keys)
	}
	out, err := s.digestWhere(ctx, b, "", nil)
	if err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(keys, mysqlKeysAtOnce) {
		less, err := s.digestWhere(ctx, b, "IN", chunk)
		if err != nil {
			return nil, err
		}
		for key, d := range less {
			if rest := (digest{out[key].rows - d.rows, out[key].sum - d.sum}); rest.rows == 0 {
				delete(out, key)
			} else {
				out[key] = rest
			}
		}
	}
	return out, nil
}

// keyLiterals are keys of originals as SQL that compares with rowKey, each once.
func (b *mysqlSelect) keyLiterals(keys []string) []string {
	var out []string
	for _, k := range keys {
		var values []*string
		if json.Unmarshal([]byte(k), &values) != nil {
			continue // it names no row of a table
		}
		var key []byte
		for _, v := range values {
			if v == nil {
				key = append(key, 1)
			} else {
				key = append(key, *v...)
			}
			key = append(key, 31)
		}
		out = append(out, "X'"+hex.EncodeToString(key)+"'")
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// digestWhere is the digest of the rows whose keys are IN or NOT IN a list.
func (s *mysqlSource) digestWhere(ctx context.Context, b *mysqlSelect, in string, keys []string) (map[string]digest, error) {
	conds := slices.Clone(b.conds)
	if len(keys) > 0 {
		conds = append(conds, b.rowKey()+" "+in+" ("+strings.Join(keys, ", ")+")")
	}
	// Grouped by bytes: texts that a collation takes for equal are different keys.
	query := fmt.Sprintf("SELECT IF(%s = '', CAST(%s AS BINARY), NULL), COUNT(*), COALESCE(SUM(%s), 0) FROM %s AS x%s%s GROUP BY 1",
		b.state, b.key, b.checksum(), quoteMySQL(b.t.name), b.joins, where(conds))
	conn, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer s.release(conn)
	out := map[string]digest{}
	err = mysqlRows(ctx, conn, query, func(scan func(...any) error) error {
		var key *string
		var d digest
		var sum string
		if err := scan(&key, &d.rows, &sum); err != nil {
			return err
		}
		return putDigest(out, key, d.rows, sum)
	})
	return out, s.failed("compute checksums of table "+b.t.name, err)
}
