package legacy

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// bounds are those of a part of a table: a range of its primary key, or of its blocks where it has none.
type bounds struct {
	From []string `json:"from,omitempty"` // the key's values, the first that is read; empty for the table's beginning
	To   []string `json:"to,omitempty"`   // the first that is not read any more; empty for the table's end

	Blocks []int64 `json:"blocks,omitempty"` // first, and the first that is not read any more; without that for the table's end
	Node   int64   `json:"node,omitempty"`   // the table's file: one that was rewritten has its rows elsewhere
	Seen   string  `json:"seen,omitempty"`   // the snapshot that the blocks were planned in
}

// leaf is a table that holds rows: the table itself, or a partition.
type leaf struct {
	name         string // in SQL
	bytes, rows  int64
	node         int64
	tidRanges    bool // the server reads ranges of blocks without reading all
	blocks, step int64
}

// parts are ranges of the primary key: they mean the same rows whatever is written to the table meanwhile. A table without
// one is read by its blocks.
func (s *postgresSource) parts(ctx context.Context, q *query, size int64) ([]part, error) {
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return nil, err
	}
	if t.view {
		return []part{{id: "all", rows: t.rows}}, nil
	}
	// Another hash of the parents is built for each part: it must not cost more than the part itself.
	for _, h := range q.table.Via {
		parent, err := s.table(ctx, h.Table)
		if err != nil {
			return nil, err
		}
		size = max(size, 4*parent.bytes)
	}
	leaves, err := s.leaves(ctx, q)
	if err != nil {
		return nil, err
	}
	var out []part
	for _, l := range leaves {
		l.blocks = (l.bytes + blockSize - 1) / blockSize
		l.step = max(1, size/blockSize)
		var some []part
		switch {
		case l.blocks <= l.step:
			some = []part{l.part(bounds{}, l.rows)}
		case len(t.primaryKey) > 0:
			some, err = s.keyRanges(ctx, l, t.primaryKey)
		default:
			some, err = s.blockRanges(ctx, l)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return s.stamped(ctx, t, leaves, out)
}

// stamped are the parts of a table that may be read in several transactions. Without a primary key only what was seen at
// first tells whether they still mean the same rows.
func (s *postgresSource) stamped(ctx context.Context, t *sourceTable, leaves []leaf, parts []part) ([]part, error) {
	if len(t.primaryKey) > 0 || len(parts) < 2 {
		return parts, nil
	}
	var seen string
	if err := s.query(ctx, "look at table "+t.name, `SELECT txid_current_snapshot()::text`, nil, []any{&seen}, func() error { return nil }); err != nil {
		return nil, err
	}
	nodes := map[string]int64{}
	for _, l := range leaves {
		nodes["ONLY "+l.name] = l.node
	}
	for n := range parts {
		var b bounds
		if err := json.Unmarshal([]byte(parts[n].high), &b); err != nil {
			return nil, err
		}
		b.Seen, b.Node = seen, nodes[parts[n].low]
		parts[n].high = b.text()
	}
	return parts, nil
}

func (b bounds) text() string {
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // a plain struct of texts and numbers
	}
	return string(text)
}

// part is a part of the leaf.
func (l *leaf) part(b bounds, rows int64) part {
	place, end := "all", ""
	if len(b.From) > 0 || len(b.To) > 0 {
		place, end = strings.Join(b.From, ","), ".."
	} else if len(b.Blocks) > 0 {
		place, end = strconv.FormatInt(b.Blocks[0], 10), "+"
	}
	return part{id: l.name + "/" + place + end, low: "ONLY " + l.name, high: b.text(), rows: rows}
}

// leaves are a table itself, or its partitions.
func (s *postgresSource) leaves(ctx context.Context, q *query) ([]leaf, error) {
	var out []leaf
	var l leaf
	const columns = `c.oid::regclass::text, pg_relation_size(c.oid), greatest(c.reltuples, 0)::bigint, current_setting('server_version_num')::int >= 140000, coalesce(pg_relation_filenode(c.oid), 0)::bigint`
	err := s.query(ctx, "look at table "+q.table.From, `SELECT `+columns+` FROM pg_class c WHERE c.oid = $1::text::regclass AND c.relkind IN ('r', 'm')
		UNION ALL SELECT `+columns+` FROM pg_partition_tree($1::text::regclass) p JOIN pg_class c ON c.oid = p.relid
			WHERE p.isleaf AND c.oid <> $1::text::regclass ORDER BY 1`,
		[]any{s.relation(q.table.From)}, []any{&l.name, &l.bytes, &l.rows, &l.tidRanges, &l.node}, func() error {
			out = append(out, l)
			return nil
		})
	return out, err
}

func (s *postgresSource) blockRanges(_ context.Context, l leaf) ([]part, error) {
	if !l.tidRanges {
		// Older servers read the whole table for each range.
		return []part{l.part(bounds{}, l.rows)}, nil
	}
	var out []part
	for low := int64(0); low < l.blocks; low += l.step {
		b := bounds{Blocks: []int64{low}}
		if low+l.step < l.blocks {
			b.Blocks = append(b.Blocks, low+l.step)
		}
		out = append(out, l.part(b, l.rows*min(l.step, l.blocks-low)/l.blocks))
	}
	return out, nil
}

// A sample of the key has so many blocks for each part. Rows that lie in another order than their keys make each part read
// most of the table: then there are few.
const (
	sampleBlocks   = 100
	sortedEnough   = 0.8
	partsUnordered = 8
)

// keyRanges splits a table by values of its primary key that a sample of its blocks has.
func (s *postgresSource) keyRanges(ctx context.Context, l leaf, key []string) ([]part, error) {
	want := (l.blocks + l.step - 1) / l.step
	texts, names := make([]string, len(key)), make([]string, len(key))
	for n, c := range key {
		names[n] = quoteColumn(c)
		texts[n] = names[n] + "::text"
	}
	percent := min(100, 100*float64(sampleBlocks*want)/float64(l.blocks))
	var all [][]string
	var one []string
	var order *float64
	err := s.query(ctx, "look at the keys of "+l.name, fmt.Sprintf(`WITH tenantctl_sample AS (SELECT ARRAY[%[1]s] AS tenantctl_key,
				row_number() OVER (ORDER BY %[2]s) AS tenantctl_row, (ctid::text::point)[0] AS tenantctl_block FROM ONLY %[3]s TABLESAMPLE SYSTEM (%[4]s))
			SELECT tenantctl_key, (SELECT corr(tenantctl_row, tenantctl_block) FROM tenantctl_sample) FROM tenantctl_sample
			WHERE tenantctl_row %% greatest(1, (SELECT count(*) FROM tenantctl_sample) / %[5]d) = 0 ORDER BY tenantctl_row`,
		strings.Join(texts, ", "), strings.Join(names, ", "), l.name, strconv.FormatFloat(percent, 'f', 6, 64), want),
		nil, []any{&one, &order}, func() error {
			all = append(all, one)
			one = nil
			return nil
		})
	if err != nil {
		return nil, err
	}
	if order == nil || math.Abs(*order) < sortedEnough {
		want = min(want, partsUnordered)
	}
	var cuts [][]string
	for n := int64(1); n < want && len(all) > 0; n++ {
		cut := all[n*int64(len(all))/want]
		if len(cuts) == 0 || strings.Join(cuts[len(cuts)-1], "\x00") != strings.Join(cut, "\x00") {
			cuts = append(cuts, cut)
		}
	}
	var out []part
	var from []string
	for _, to := range append(cuts, nil) {
		out = append(out, l.part(bounds{From: from, To: to}, l.rows/int64(len(cuts)+1)))
		from = to
	}
	return out, nil
}

// conditions are the SQL of a part's bounds; alias is what the row is called.
func (b bounds) conditions(alias string, key []string) []string {
	columns := make([]string, len(key))
	for n, c := range key {
		columns[n] = alias + "." + quoteColumn(c)
	}
	row := "(" + strings.Join(columns, ", ") + ")"
	values := func(texts []string) string {
		out := make([]string, len(texts))
		for n, t := range texts {
			out[n] = literal(t)
		}
		return "(" + strings.Join(out, ", ") + ")"
	}
	var out []string
	if len(b.From) > 0 {
		out = append(out, row+" >= "+values(b.From))
	}
	if len(b.To) > 0 {
		out = append(out, row+" < "+values(b.To))
	}
	if len(b.Blocks) > 0 {
		out = append(out, fmt.Sprintf("%s.ctid >= '(%d,0)'", alias, b.Blocks[0]))
	}
	if len(b.Blocks) > 1 {
		out = append(out, fmt.Sprintf("%s.ctid < '(%d,0)'", alias, b.Blocks[1]))
	}
	return out
}

// resume goes on by ranges of the primary key. Of a table without one it looks whether a row was written since its parts
// were planned: an update puts a row into another part.
func (s *postgresSource) resume(ctx context.Context, q *query, before []plannedPart) (parts []part, changed string, err error) {
	t, err := s.table(ctx, q.table.From)
	if err != nil || t.view {
		return planned(before), "", err
	}
	leaves, err := s.leaves(ctx, q)
	if err != nil {
		return nil, "", err
	}
	for _, l := range leaves {
		there := false
		for _, p := range before {
			if p.low != "ONLY "+l.name {
				continue
			}
			there = true
			var b bounds
			if err := json.Unmarshal([]byte(p.high), &b); err != nil {
				return nil, "", fmt.Errorf("read the bounds of part %s: %w", p.id, err)
			}
			switch {
			case (len(b.From) > 0 || len(b.To) > 0) && len(t.primaryKey) != max(len(b.From), len(b.To)):
				return nil, "its primary key is another one now", nil
			case b.Seen == "":
			case b.Node != l.node:
				return nil, "it has no primary key and was rewritten", nil
			default:
				if changed, err = s.writtenSince(ctx, l, b.Seen); err != nil || changed != "" {
					return nil, changed, err
				}
			}
			parts = append(parts, p.part)
		}
		if !there {
			parts = append(parts, l.part(bounds{}, l.rows)) // a partition that was attached
		}
	}
	return parts, "", nil
}

// writtenSince tells whether a table has a row that a snapshot has not seen.
func (s *postgresSource) writtenSince(ctx context.Context, l leaf, seen string) (string, error) {
	_, rest, _ := strings.Cut(seen, ":")
	next, running, _ := strings.Cut(rest, ":")
	short := func(id string) (string, error) {
		n, err := strconv.ParseInt(id, 10, 64)
		return strconv.FormatUint(uint64(uint32(n)), 10), err
	}
	after, err := short(next)
	if err != nil {
		return "", fmt.Errorf("read the snapshot %q: %w", seen, err)
	}
	conds := []string{fmt.Sprintf("age(xmin) <= age('%s'::xid)", after)}
	for _, id := range strings.FieldsFunc(running, func(r rune) bool { return r == ',' }) {
		if id, err = short(id); err != nil {
			return "", fmt.Errorf("read the snapshot %q: %w", seen, err)
		}
		conds = append(conds, fmt.Sprintf("xmin = '%s'::xid", id))
	}
	var written bool
	err = s.query(ctx, "look for new rows in "+l.name, `SELECT EXISTS (SELECT FROM ONLY `+l.name+` WHERE `+strings.Join(conds, " OR ")+`)`, nil, []any{&written}, func() error { return nil })
	if written {
		return "it has no primary key and was written to", err
	}
	return "", err
}
