package schema

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// memory is an archive in memory.
type memory struct {
	sync.Mutex
	files []*memoryFile
	info  tenant.Dumped
}

type memoryFile struct {
	bytes.Buffer
	part  tenant.Part
	ended bool
}

func (m *memory) Create(path, name string) (tenant.PartFile, error) {
	m.Lock()
	defer m.Unlock()
	f := &memoryFile{part: tenant.Part{Path: path, Name: name}}
	m.files = append(m.files, f)
	return f, nil
}

func (f *memoryFile) End(rows int64, sum uint64) error {
	digest := sha256.Sum256(f.Bytes())
	f.part.Size, f.part.SHA256, f.part.Rows, f.ended = int64(f.Len()), hex.EncodeToString(digest[:]), rows, true
	if rows > 0 {
		f.part.Sum = fmt.Sprintf("%016x", sum)
	}
	return nil
}

// sorted are the parts in the order that archives keep.
func (m *memory) sorted() []*memoryFile {
	place := func(f *memoryFile) string {
		return fmt.Sprint(slices.Index([]string{partPre, partObjects, "", partSequences, partPost, partGrants}, map[bool]string{false: f.part.Path}[strings.HasPrefix(f.part.Path, partData)]), f.part.Path)
	}
	files := slices.Clone(m.files)
	slices.SortFunc(files, func(a, b *memoryFile) int { return strings.Compare(place(a), place(b)) })
	return files
}

func (m *memory) file(t testing.TB, path string) *memoryFile {
	t.Helper()
	for _, f := range m.files {
		if f.part.Path == path || f.part.Name == path && path != "" {
			return f
		}
	}
	t.Fatalf("there is no part %s", path)
	return nil
}

// dump backs a tenant up into memory.
func (b bench) dump(tn tenant.Tenant) *memory {
	b.t.Helper()
	m := new(memory)
	info, err := b.Dump(b.t.Context(), tn, m, tenant.DumpOptions{Parallel: 2})
	must(b.t, err)
	for _, f := range m.files {
		if !f.ended {
			b.t.Errorf("part %s was not ended", f.part.Path)
		}
	}
	m.info = info
	return m
}

// into loads an archive; parts with rows come in pieces of that size, each in turn.
func (m *memory) into(ctx context.Context, r *Resource, tn tenant.Tenant, o tenant.LoadOptions, piece int) error {
	if o.Log == nil {
		o.Log = func(string) {}
	}
	o.Dumped = m.info
	l, err := r.Load(ctx, tn, o)
	if err != nil {
		return err
	}
	defer l.Stop()
	type half struct {
		to   interface{ Write([]byte) (int, error) }
		end  func() error
		left []byte
	}
	var halves []*half
	for _, f := range m.sorted() {
		w, err := l.Part(ctx, f.part)
		if err != nil {
			return err
		}
		if w == nil {
			continue
		}
		h := &half{w, w.Close, f.Bytes()}
		if !strings.HasPrefix(f.part.Path, partData) {
			if _, err := h.to.Write(h.left); err != nil {
				return err
			}
			if err := h.end(); err != nil {
				return err
			}
			continue
		}
		halves = append(halves, h)
	}
	for len(halves) > 0 {
		halves = slices.DeleteFunc(halves, func(h *half) bool {
			if err != nil {
				return false
			}
			n := min(piece, len(h.left))
			if _, err = h.to.Write(h.left[:n]); err != nil {
				return false
			}
			if h.left = h.left[n:]; len(h.left) == 0 {
				err = h.end()
				return true
			}
			return false
		})
		if err != nil {
			return err
		}
	}
	return l.Finish(ctx)
}

// same fails where two archives differ: in definitions, in the rows of a table or in their sum.
func same(t testing.TB, a, b *memory) {
	t.Helper()
	x, y := a.sorted(), b.sorted()
	for i := range max(len(x), len(y)) {
		if i >= len(x) || i >= len(y) || x[i].part.Path != y[i].part.Path {
			t.Fatalf("the parts are others: %v and %v", paths(x), paths(y))
		}
		p, q := x[i].part, y[i].part
		if p.Rows != q.Rows || p.Sum != q.Sum {
			t.Errorf("part %s has %d rows of sum %s, then %d of sum %s\n%s\n%s", p.Path, p.Rows, p.Sum, q.Rows, q.Sum, x[i].String(), y[i].String())
		}
		one, other := x[i].String(), y[i].String()
		if p.Path == partGrants { // they come in the order in which they were given
			one, other = inOrder(one), inOrder(other)
		}
		if p.Name == "" && one != other {
			t.Errorf("part %s differs:\n%s", p.Path, diff(one, other))
		}
	}
	if a.info.Fingerprint != b.info.Fingerprint {
		t.Error("the fingerprints differ")
	}
}

func inOrder(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func paths(files []*memoryFile) []string {
	var out []string
	for _, f := range files {
		out = append(out, f.part.Path)
	}
	return out
}

// diff shows the lines that are in one text alone.
func diff(a, b string) string {
	var out strings.Builder
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for _, l := range x {
		if !slices.Contains(y, l) {
			out.WriteString("- " + l + "\n")
		}
	}
	for _, l := range y {
		if !slices.Contains(x, l) {
			out.WriteString("+ " + l + "\n")
		}
	}
	if out.Len() == 0 {
		return "only the order of lines\n" + a + "\n----\n" + b
	}
	return out.String()
}

// everything is a schema with all that a migration can make on a server of that major version. Extensions are in the schema ext.
func everything(t testing.TB, major int) string {
	t.Helper()
	sql, err := os.ReadFile("testdata/everything.sql")
	must(t, err)
	if major < 18 {
		return string(sql)
	}
	more, err := os.ReadFile("testdata/everything18.sql")
	must(t, err)
	return string(sql) + ";\n" + string(more)
}

// full is a tenant with everything, and others, whose rights on it are told.
func (b bench) full(name string) tenant.Tenant {
	b.t.Helper()
	super := b.super()
	_, err := super.Exec(b.t.Context(), `CREATE SCHEMA IF NOT EXISTS ext; GRANT USAGE ON SCHEMA ext TO PUBLIC; CREATE EXTENSION IF NOT EXISTS hstore SCHEMA ext`)
	must(b.t, err)
	tn := b.created(name)
	b.exec("DO $$ BEGIN CREATE ROLE %sreader; EXCEPTION WHEN duplicate_object THEN NULL; END $$", b.prefix)
	conn, err := b.pool.Acquire(b.t.Context())
	must(b.t, err)
	defer conn.Release()
	for _, s := range statementsOf(strings.NewReplacer("@reader@", b.prefix+"reader", "@role@", tn.Role, "@schema@", tn.Schema).Replace(everything(b.t, b.major()))) {
		err := b.within(b.t.Context(), conn, tn, []command{cmd("SET LOCAL check_function_bodies = off"), cmd("%s", s.text)})
		if err != nil {
			b.t.Fatalf("%v\n%s", err, s.text)
		}
	}
	return tn
}

func TestASchemaWithEverythingComesBackUnderAnotherName(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	from := b.full("acme")
	first := b.dump(from)
	for _, f := range first.files {
		// Values that are written in definitions stay, and so does what only begins like the name.
		said := strings.NewReplacer("tells of "+from.Schema, "", "default of "+from.Schema, "", "'"+from.Schema+"'", "", from.Schema+"_more", "").Replace(f.String())
		if strings.Contains(said, from.Schema) {
			t.Errorf("part %s speaks of %s:\n%s", f.part.Path, from.Schema, linesWith(f.String(), from.Schema))
		}
	}
	to := b.tenant("globex-2")
	must(t, first.into(t.Context(), b.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true, Parallel: 2}, 700))
	second := b.dump(to)
	same(t, first, second)
	if second.info.Version != 5 || second.info.Applied != 5 || !second.info.Snapshot {
		t.Errorf("the second dump tells of %+v", second.info)
	}
	b.lives(to)
	_, err := b.Up(t.Context(), to, tenant.Newest, false)
	must(t, err)
}

// lives fails where a copy of everything does not work.
func (b bench) lives(tn tenant.Tenant) {
	b.t.Helper()
	conn := b.as(tn)
	for _, c := range [][2]string{
		{"SELECT current_schema()", tn.Schema},
		{"SELECT where_am_i()", tn.Schema},
		{"SELECT counted()", "3"},
		{"SELECT atomic_count()", "3"},
		{`SELECT count(*) FROM "Weird Name"`, "1"},
		{"SELECT nextval('free_numbers')", "4761"},
		{"INSERT INTO ids (note) VALUES ('x') RETURNING id", "4"},
		{"SELECT string_agg(DISTINCT tableoid::regclass::text, ',') FROM measures", "measures_2024_a,measures_2024_b,measures_rest"},
		{"SELECT n FROM on_totals", "4"},
	} {
		if got := scalarOf(b.t, conn, c[0]); got != c[1] {
			b.t.Errorf("%s gives %q, want %q", c[0], got, c[1])
		}
	}
	denied(b.t, conn, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9, true)")
}

func linesWith(s, word string) string {
	var out []string
	for _, l := range strings.Split(s, "\n") {
		if strings.Contains(l, word) {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

func scalarOf(t testing.TB, db tenant.DB, sql string) string {
	t.Helper()
	var v any
	if err := db.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	return fmt.Sprint(v)
}

// psql runs the program as the provisioner with a file, and fails where that does.
func (b bench) psql(schema string, args ...string) {
	b.t.Helper()
	c := exec.Command("psql", append([]string{"--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"}, args...)...)
	env, err := b.clientEnv()
	must(b.t, err)
	c.Env = append(append(os.Environ(), env...), "PGCLIENTENCODING=UTF8", "PGOPTIONS=-c search_path="+strings.ReplaceAll(quote(schema), " ", `\ `))
	if out, err := c.CombinedOutput(); err != nil {
		b.t.Fatalf("psql %v: %v\n%s", args, err, out)
	}
}

func TestPsqlAloneLoadsABackupUnderAnyName(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	from := b.full("acme")
	first := b.dump(from)
	dir := t.TempDir()
	var files []string
	for i, f := range first.sorted() {
		path := filepath.Join(dir, fmt.Sprintf("%03d.sql", i))
		must(t, os.WriteFile(path, f.Bytes(), 0o600))
		files = append(files, path)
	}
	// The second name needs quotes wherever it stands.
	for _, name := range []string{b.prefix + "other", b.prefix + "Other Place"} {
		role := name
		b.exec("CREATE SCHEMA %[1]s; CREATE ROLE %[1]s LOGIN", quote(name))
		for _, f := range files {
			b.psql(name, "-v", "tenant_schema="+name, "-v", "tenant_role="+role, "-f", f)
		}
		tn := b.tenant("by-hand")
		tn.Schema, tn.Role = name, role
		b.exec("COMMENT ON SCHEMA %s IS '%s'", quote(name), mark(tn))
		same(t, first, b.dump(tn))
	}
}

func TestABrokenLoadIsTakenAwayByDrop(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	m := b.dump(b.created("acme"))
	before := b.state(b.tenant("globex"))
	for name, damage := range map[string]func(f *memoryFile){
		"row":         func(f *memoryFile) { cutInto(f, "FROM stdin;\n", "FROM stdin;\nnonsense\n") },
		"end":         func(f *memoryFile) { f.Truncate(f.Len() - 2) },
		"beginning":   func(f *memoryFile) { cutInto(f, "COPY", "DROP") },
		"other place": func(f *memoryFile) { cutInto(f, `:"tenant_schema".`, "pg_catalog.") },
	} {
		t.Run(name, func(t *testing.T) {
			b := b
			b.t = t
			broken := new(memory)
			broken.info = m.info
			for _, f := range m.files {
				g := &memoryFile{part: f.part}
				g.Write(f.Bytes())
				if g.part.Name == "customers" {
					damage(g)
				}
				broken.files = append(broken.files, g)
			}
			tn := b.tenant("globex")
			err := broken.into(t.Context(), b.Resource, tn, tenant.LoadOptions{Role: tn.Role, MakeRole: true, Parallel: 2}, 1<<20)
			var e *tenant.Error
			if !errors.As(err, &e) || !strings.Contains(e.Msg, "customers") {
				t.Errorf("the load says %v of %s, want that customers is damaged", err, e.Statement)
			}
			must(t, b.Drop(t.Context(), tn))
			if after := b.state(tn); after != before {
				t.Errorf("left is\n%s", after)
			}
		})
	}
}

func cutInto(f *memoryFile, old, new string) {
	s := strings.Replace(f.String(), old, new, 1)
	f.Reset()
	f.WriteString(s)
}
