package schema

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
)

// dumpsAtOnce bounds how many schemas pg_dump is given: it locks every table of them.
const dumpsAtOnce = 120

// content is what a schema holds, in pg_dump's words: a text for each object and for the rows of each table, in order.
// Names that differ between schemas, and values of the clock, are put in words that can be equal.
type content struct {
	blocks []string
}

// String is all of it.
func (c content) String() string { return strings.Join(c.blocks, "\n") }

// unnoted is what the schema holds but for the note of how far a file without a transaction got.
func (c content) unnoted() content {
	return content{slices.DeleteFunc(slices.Clone(c.blocks), func(b string) bool { return strings.HasPrefix(b, "COMMENT TABLE "+migrationfile.VersionTable) })}
}

// empty tells whether nothing but goose's version table is there, without a version.
func (c content) empty() bool {
	return !slices.ContainsFunc(c.blocks, func(b string) bool {
		return !strings.Contains(b, migrationfile.VersionTable) && !strings.HasPrefix(b, "SCHEMA") && !strings.HasPrefix(b, "DEFAULT ACL")
	}) && !strings.Contains(c.String(), "\nversion 1 ")
}

// contents dumps schemas of a database by pg_dump. names are words that stand for others: roles and prefixes.
func contents(t testing.TB, url string, schemas []string, rights bool, names *strings.Replacer, since time.Time) map[string]content {
	t.Helper()
	all := map[string]content{}
	for some := range slices.Chunk(schemas, dumpsAtOnce) {
		args := []string{"--dbname", url, "--no-sync"}
		for _, s := range some {
			args = append(args, "--schema", s)
		}
		blocks := map[string][]string{}
		for _, b := range dumpBlocks(pgDump(t, args)) {
			if !rights && strings.HasSuffix(b.kind, "ACL") || b.kind == "SCHEMA" {
				continue
			}
			said := strings.ReplaceAll(b.kind+" "+b.name+"\n"+b.text, b.schema, "SCHEMA")
			blocks[b.schema] = append(blocks[b.schema], names.Replace(said))
		}
		for _, s := range some {
			all[s] = comparable(blocks[s], since)
		}
	}
	return all
}

func pgDump(t testing.TB, args []string) string {
	t.Helper()
	c := exec.CommandContext(context.Background(), "pg_dump", args...)
	c.Env = append(os.Environ(), "PGTZ=UTC")
	var said strings.Builder
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("pg_dump: %v\n%s", err, said.String())
	}
	return string(out)
}

// block is an entry of a dump.
type block struct{ name, kind, schema, text string }

var blockHead = regexp.MustCompile(`(?m)^--\n-- (?:Data for )?Name: (.*); Type: (.*); Schema: (.*); Owner: .*\n--\n`)

func dumpBlocks(dump string) []block {
	var all []block
	heads := blockHead.FindAllStringSubmatchIndex(dump, -1)
	for i, h := range heads {
		end := len(dump)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		at := func(n int) string { return dump[h[2*n]:h[2*n+1]] }
		all = append(all, block{at(1), at(2), at(3), dump[h[1]:end]})
	}
	return all
}

var (
	bookRow    = regexp.MustCompile(`(?m)^\d+\t(\d+)\t([tf])\t.*$`)
	instant    = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d(?::\d\d)?)?`)
	txNumber   = regexp.MustCompile(`tx:(\d+)`) // of a transaction
	copiedRows = regexp.MustCompile(`(?s)(\nCOPY [^\n]* FROM stdin;\n)(.*?)(\\\.\n)`)
	dumpNoise  = regexp.MustCompile(`(?m)^(SET default_\w+ = .*;|-- PostgreSQL database dump complete|\\(un)?restrict .*)\n`)
)

// comparable puts what cannot be equal in words that can: of rows their order on disk goes, of the version table the
// times and row numbers, and values of the clock and numbers of transactions become their places among all of the schema, so that
// two that were equal, or one before the other, have to be so.
func comparable(blocks []string, since time.Time) content {
	slices.Sort(blocks)
	for i, b := range blocks {
		b = dumpNoise.ReplaceAllString(b, "")
		switch {
		case strings.HasPrefix(b, "TABLE DATA "+migrationfile.VersionTable):
			b = bookRow.ReplaceAllString(b, "version $1 $2")
		case strings.HasPrefix(b, "SEQUENCE SET "+migrationfile.VersionTable):
			b = ""
		}
		blocks[i] = strings.Trim(b, "\n-")
	}
	places, order := clockPlaces(blocks, since), transactionPlaces(blocks)
	for i, b := range blocks {
		b = txNumber.ReplaceAllStringFunc(b, func(tx string) string { return order[tx] })
		b = instant.ReplaceAllStringFunc(b, func(at string) string {
			if place, found := places[at]; found {
				return place
			}
			return at
		})
		blocks[i] = copiedRows.ReplaceAllStringFunc(b+"\n", func(rows string) string {
			parts := copiedRows.FindStringSubmatch(rows)
			lines := strings.SplitAfter(parts[2], "\n")
			slices.Sort(lines)
			return parts[1] + strings.Join(lines, "") + parts[3]
		})
	}
	slices.Sort(blocks)
	return content{blocks}
}

// clockPlaces finds the values that the clock gave since then, in whatever zone, and gives each its place.
func clockPlaces(blocks []string, since time.Time) map[string]string {
	type value struct {
		text string
		at   time.Time
	}
	var values []value
	for _, b := range blocks {
		for _, s := range instant.FindAllString(b, -1) {
			for _, layout := range []string{"2006-01-02 15:04:05.999999-07", "2006-01-02 15:04:05.999999-07:00", "2006-01-02 15:04:05.999999"} {
				at, err := time.Parse(layout, s)
				if err != nil {
					continue
				}
				zone := 15 * time.Hour
				if at.After(since.Add(-zone)) && at.Before(time.Now().Add(zone)) {
					values = append(values, value{s, at})
				}
				break
			}
		}
	}
	slices.SortStableFunc(values, func(a, b value) int { return a.at.Compare(b.at) })
	places := map[string]string{}
	place := 0
	for i, v := range values {
		if i == 0 || !v.at.Equal(values[i-1].at) {
			place++
		}
		places[v.text] = fmt.Sprintf("<clock %d>", place)
	}
	return places
}

// transactionPlaces gives each number of a transaction its place among all.
func transactionPlaces(blocks []string) map[string]string {
	var all []string
	for _, b := range blocks {
		all = append(all, txNumber.FindAllString(b, -1)...)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	places := map[string]string{}
	for i, tx := range slices.Compact(all) {
		places[tx] = fmt.Sprintf("<transaction %d>", i+1)
	}
	return places
}

// difference is the first thing in which two schemas differ, or "".
func difference(ours, theirs content) string {
	lacking := func(from, in content) string {
		for _, b := range from.blocks {
			if !slices.Contains(in.blocks, b) {
				return indented(b)
			}
		}
		return "    nothing else"
	}
	if slices.Equal(ours.blocks, theirs.blocks) {
		return ""
	}
	return fmt.Sprintf("tenantctl has\n%s\ngoose has\n%s", lacking(ours, theirs), lacking(theirs, ours))
}

func indented(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}
