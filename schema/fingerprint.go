package schema

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// hashVersion stands before each fingerprint: those of another cannot be compared.
const hashVersion = "3"

// structure is what a schema is made of, without its rows.
type structure struct {
	fingerprint string   // the same for schemas whose definitions are the same but for the names of schema and role
	rights      string   // the same where owners, grants and which materialized views hold rows are too
	matviews    bool     // there are materialized views
	other       []string // objects of which the fingerprint does not tell
	objects     map[string]bool
	tables      []table
	sequences   []string
	owners      []string // the provisioning roles
	major       int      // version of the server
}

// table is one that holds rows.
type table struct {
	name    string
	columns string // as SQL, without those that are generated; empty where there are none
	size    int64  // bytes on disk
	root    string // the table by way of which its rows are loaded, if not by itself
}

// into is the table by way of which its rows are loaded.
func (t table) into() string { return cmp.Or(t.root, t.name) }

// columnList is the part of a COPY that names the columns.
func (t table) columnList() string {
	if t.columns == "" {
		return ""
	}
	return " (" + t.columns + ")"
}

// planning keeps the catalogs from being read as a whole, whatever their statistics say, and names as they are.
var planning = []string{"enable_seqscan = off", "enable_hashjoin = off", "enable_mergejoin = off", "jit = off", "quote_all_identifiers = off"}

// readStructure asks for the structure of the schema that is in force, in one round trip of a transaction. t is whose
// it is, with the role that is the tenant's there.
func readStructure(ctx context.Context, pg *pgconn.PgConn, t tenant.Tenant) (*structure, error) {
	s, place, err := structureOf(ctx, pg, t)
	if err == nil {
		err = place.ours(t)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// structureOf is readStructure for a schema that may be anybody's.
func structureOf(ctx context.Context, pg *pgconn.PgConn, t tenant.Tenant) (*structure, *place, error) {
	s := &structure{objects: map[string]bool{}, major: major(pg)}
	commands, place := []command{}, new(place)
	for _, p := range planning {
		commands = append(commands, cmd("SET LOCAL %s", p))
	}
	commands = append(commands, look(t, place))
	var asked []asking
	ask := func(columns int, sql string, row func(row [][]byte)) {
		asked = append(asked, asking{columns, sql, row})
	}
	makers := cmd("SELECT current_user UNION SELECT session_user UNION SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s", text(t.Schema))
	makers.row = func(row [][]byte) { s.owners = append(s.owners, string(row[0])) }
	commands = append(commands, makers)
	ask(1, objectNames, func(row [][]byte) { s.objects[string(row[0])] = true })
	ask(1, otherKinds, func(row [][]byte) { s.other = append(s.other, string(row[0])) })
	ask(4, rowHolders, func(row [][]byte) {
		size, _ := strconv.ParseInt(string(row[2]), 10, 64)
		s.tables = append(s.tables, table{string(row[0]), string(row[1]), size, string(row[3])})
	})
	ask(1, sequenceNames, func(row [][]byte) { s.sequences = append(s.sequences, string(row[0])) })
	var names sqltext.Renaming // made once the objects are known
	named := func() *sqltext.Renaming {
		if names.Objects == nil {
			names = s.renaming(t)
		}
		return &names
	}
	whole, granted := sha256.New(), sha256.New()
	for _, f := range append(slices.Clone(structureFacts), populated, rights) {
		if f.since > s.major {
			continue
		}
		into := whole
		if f.sql == rights.sql || f.sql == populated.sql {
			into = granted
		}
		ask(len(f.fields), f.sql, func(row [][]byte) {
			s.matviews = s.matviews || f.sql == populated.sql
			f.add(into, row, named())
		})
	}
	all, misread := together(asked)
	commands = append(commands, all)
	for _, p := range planning {
		name, _, _ := strings.Cut(p, " ")
		commands = append(commands, cmd("SET LOCAL %s TO DEFAULT", name))
	}
	if err := send(ctx, pg, commands); err != nil {
		return nil, nil, err
	}
	if *misread != nil {
		return nil, nil, fmt.Errorf("read the structure: %w", *misread)
	}
	s.fingerprint = hashVersion + ":" + hex.EncodeToString(whole.Sum(nil))
	s.rights = hashVersion + ":" + hex.EncodeToString(granted.Sum(nil))
	return s, place, nil
}

// asking is a query about the members, with so many columns, and what takes its rows.
type asking struct {
	columns int
	sql     string
	row     func(row [][]byte)
}

// together asks many questions in one statement: the members are looked for once, and planning them takes as long as
// answering. Each row comes with its question's number, as a JSON array of texts. misread is what could not be read.
func together(questions []asking) (all command, misread *error) {
	return togetherFrom(members, questions)
}

// togetherFrom is together with members of its own.
func togetherFrom(members string, questions []asking) (all command, misread *error) {
	misread = new(error)
	var sql strings.Builder
	sql.WriteString(members)
	for i, q := range questions {
		if i > 0 {
			sql.WriteString("\nUNION ALL ")
		}
		var names, texts []string
		for n := range q.columns {
			names, texts = append(names, fmt.Sprintf("c%d", n)), append(texts, fmt.Sprintf("c%d::text", n))
		}
		fmt.Fprintf(&sql, "SELECT %d, json_build_array(%s)::text FROM (%s) q(%s)", i, strings.Join(texts, ", "), q.sql, strings.Join(names, ", "))
	}
	all = command{sql: sql.String(), count: 1}
	all.row = func(row [][]byte) {
		n, err := strconv.Atoi(string(row[0]))
		var values []*string
		if err == nil {
			err = json.Unmarshal(row[1], &values)
		}
		if err != nil {
			*misread = err
			return
		}
		answer := make([][]byte, len(values))
		for i, v := range values {
			if v != nil {
				answer[i] = []byte(*v)
			}
		}
		questions[n].row(answer)
	}
	return all, misread
}

// renaming gives what puts psql's variables in the place of the tenant's names.
func (s *structure) renaming(t tenant.Tenant) sqltext.Renaming {
	return sqltext.Renaming{Schema: t.Schema, Role: t.Role, Owners: slices.DeleteFunc(slices.Clone(s.owners), func(o string) bool { return o == t.Role }), Objects: s.objects, To: sqltext.Variables}
}

// add writes a row into a hash, so that no two different rows look the same.
func (f fact) add(h hash.Hash, row [][]byte, names *sqltext.Renaming) {
	for i, value := range row {
		if value == nil {
			h.Write([]byte{0})
			continue
		}
		said := string(value)
		switch f.fields[i] {
		case 's':
			said = names.SQL(said)
		case 'r':
			said = names.RoleName(sqltext.Token{Kind: sqltext.Quoted, Text: quote(said)})
		}
		h.Write(binary.AppendUvarint([]byte{1}, uint64(len(said))))
		h.Write([]byte(said))
	}
	h.Write([]byte{2})
}

// major is the version of the server.
func major(pg *pgconn.PgConn) int { return serverRelease(pg).major }

func serverRelease(pg *pgconn.PgConn) release {
	return readVersion(pg.ParameterStatus("server_version"))
}

// release is a version of PostgreSQL.
type release struct{ major, minor int }

// readVersion reads "15.4 (Debian)", and "17beta1" as one without a minor version.
func readVersion(said string) (v release) {
	digits := sqltext.PrefixLen(said, sqltext.IsDigit)
	v.major, _ = strconv.Atoi(said[:digits]) // digits alone
	if rest, minor := strings.CutPrefix(said[digits:], "."); minor {
		v.minor, _ = strconv.Atoi(rest[:sqltext.PrefixLen(rest, sqltext.IsDigit)])
	}
	return v
}

// olderThan tells whether a release came before another.
func (v release) olderThan(w release) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

// serverName is the server as a backup tells of it: "PostgreSQL 15.4".
func serverName(pg *pgconn.PgConn) string {
	version, _, _ := strings.Cut(pg.ParameterStatus("server_version"), " ")
	return fmt.Sprintf("PostgreSQL %s", version)
}
