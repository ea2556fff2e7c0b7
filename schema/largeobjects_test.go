package schema

import (
	"fmt"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

const objectTables = `CREATE DOMAIN lo AS oid;
CREATE DOMAIN document AS lo;
CREATE TABLE files (id int PRIMARY KEY, a oid, "B ""x""" document, path text, kind oid);
CREATE TABLE parted (id int, c lo) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE plain (id int, n oid);`

// withObjects is a tenant whose columns of each kind refer to large objects, and hold what is none.
func (b bench) withObjects(name string) (tenant.Tenant, *pgx.Conn) {
	b.t.Helper()
	tn := b.created(name)
	conn := b.as(tn)
	for _, sql := range []string{
		`INSERT INTO files VALUES (1, lo_from_bytea(0, 'one'), lo_from_bytea(0, ''), lo_from_bytea(0, '\x00ff0a095c')::text, 'files'::regclass)`,
		// More than fits into one piece, and a whole number of them.
		`INSERT INTO files VALUES (2, lo_from_bytea(0, decode(repeat('00ab', 300000), 'hex')), lo_from_bytea(0, decode(repeat('cd', 524288), 'hex')), '12 Main Street', 4000000000)`,
		`INSERT INTO files SELECT 3, a, NULL, '07', 0 FROM files WHERE id = 1`,
		`INSERT INTO parted VALUES (1, lo_from_bytea(0, 'parted'))`,
		`DO $$ BEGIN EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO PUBLIC', (SELECT c FROM parted)); END $$`,
	} {
		if _, err := conn.Exec(b.t.Context(), sql); err != nil {
			b.t.Fatal(err)
		}
	}
	return tn, conn
}

// objectsOf says what the tenant reads through its columns, by its own login.
func objectsOf(t *testing.T, conn tenant.DB) string {
	t.Helper()
	return scalar(t, conn, `SELECT string_agg(line, E'\n' ORDER BY line) FROM (
		SELECT concat_ws(' ', id, md5(lo_get(a)), length(lo_get(a)), md5(lo_get("B ""x""")), CASE WHEN id = 1 THEN md5(lo_get(path::oid)) ELSE path END, kind) FROM files
		UNION ALL SELECT concat_ws(' ', id, convert_from(lo_get(c), 'UTF8')) FROM parted) q(line)`)
}

func textColumns(c *Config) { c.LargeObjectColumns = []string{"files.path"} }

// owned counts the large objects of a role.
func (b bench) objectsOwnedBy(role string) string {
	b.t.Helper()
	return b.scalar("SELECT count(*) FROM pg_largeobject_metadata m JOIN pg_roles r ON r.oid = m.lomowner WHERE rolname = '%s'", role)
}

func (b bench) allObjects() string {
	b.t.Helper()
	return b.scalar("SELECT count(*) FROM pg_largeobject_metadata")
}

// provisioners are whom a bench may work as. The superuser that initdb made is in no dependency that the catalogs keep.
var provisioners = map[string]func(*Config){
	"provisioner": func(*Config) {},
	"superuser": func(c *Config) {
		u, _ := url.Parse(c.URL) // it was made from one
		super, _ := url.Parse(os.Getenv("TENANTCTL_POSTGRES_URL"))
		u.User, c.AllowSuperuser = super.User, true
		c.URL = u.String()
	},
}

func TestLargeObjectsTravelWithABackup(t *testing.T) {
	t.Parallel()
	for who, as := range provisioners {
		t.Run(who, func(t *testing.T) { travel(t, newBench(t, one(t, objectTables), textColumns, as)) })
	}
}

func travel(t *testing.T, b bench) {
	t.Helper()
	t.Parallel()
	tn, conn := b.withObjects("acme")
	was := objectsOf(t, conn)
	m := b.dump(tn)
	if rows := m.file(t, partObjects).part.Rows; rows != 6 {
		t.Errorf("the backup has %d large objects, want 6", rows)
	}
	to := b.tenant("globex")
	must(t, m.into(t.Context(), b.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true, Parallel: 2}, 100))
	loaded := b.as(to)
	if is := objectsOf(t, loaded); is != was {
		t.Errorf("restored, the tenant reads\n%s\nand had\n%s", is, was)
	}
	if n := b.objectsOwnedBy(to.Role); n != "6" {
		t.Errorf("the restored tenant owns %s large objects, want 6", n)
	}
	if n := scalar(t, loaded, "SELECT count(DISTINCT a) FROM files WHERE id IN (1, 3)"); n != "1" {
		t.Errorf("two values that referred to one object refer to %s", n)
	}
	if n := b.scalar("SELECT count(*) FROM pg_largeobject_metadata m JOIN pg_roles r ON r.oid = m.lomowner WHERE rolname = '%s' AND lomacl::text LIKE '%%{=r/%%' OR lomacl::text LIKE '%%,=r/%%'", to.Role); n != "2" {
		t.Errorf("%s objects may be read by all, want one of each tenant", n)
	}
	same(t, m, b.dump(to)) // whose sums do not depend on the objects' numbers
	must(t, b.Drop(t.Context(), to))
	if n := b.allObjects(); n != "6" {
		t.Errorf("after the copy was dropped there are %s large objects, want the source's 6", n)
	}
	if is := objectsOf(t, conn); is != was {
		t.Errorf("then the source reads\n%s\nand had\n%s", is, was)
	}
	must(t, b.Drop(t.Context(), tn))
	if n := b.allObjects(); n != "0" {
		t.Errorf("after the tenant was dropped there are %s large objects", n)
	}
}

func TestABackupTellsOfALostOrChangedLargeObject(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, objectTables), textColumns)
	tn, conn := b.withObjects("acme")
	m := b.dump(tn)
	sums := func(m *memory) string {
		return m.file(t, "files").part.Sum + " " + m.file(t, partObjects).part.Sum
	}
	for _, change := range []string{
		"SELECT lo_put(a, 1, 'N') FROM files WHERE id = 1", "SELECT lo_unlink(a) FROM files WHERE id = 1",
	} {
		if _, err := conn.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		now := b.dump(tn)
		if strings.Split(sums(now), " ")[0] == strings.Split(sums(m), " ")[0] || strings.Split(sums(now), " ")[1] == strings.Split(sums(m), " ")[1] {
			t.Errorf("after %s the sums are the same: %s", change, sums(now))
		}
		m = now
	}
}

func TestACloneHasLargeObjectsOfItsOwn(t *testing.T) {
	t.Parallel()
	for who, as := range provisioners {
		t.Run(who, func(t *testing.T) { cloneObjects(t, newBench(t, one(t, objectTables), textColumns, as)) })
	}
}

func cloneObjects(t *testing.T, b bench) {
	t.Helper()
	t.Parallel()
	tn, conn := b.withObjects("acme")
	was := objectsOf(t, conn)
	to := b.tenant("globex")
	must(t, b.Clone(t.Context(), tn, to, true))
	if _, err := conn.Exec(t.Context(), "SELECT lo_put(a, 0, 'TWO') FROM files"); err != nil {
		t.Fatal(err)
	}
	if is := objectsOf(t, b.as(to)); is != was {
		t.Errorf("the copy reads\n%s\nand the source had\n%s", is, was)
	}
	bare := b.tenant("initech")
	must(t, b.Clone(t.Context(), tn, bare, false))
	if n := b.objectsOwnedBy(bare.Role); n != "0" {
		t.Errorf("a copy without rows owns %s large objects", n)
	}
	if n := b.allObjects(); n != "12" {
		t.Errorf("there are %s large objects, want 12", n)
	}
}

// What no backup carries is told of, and nobody gets what he may not read by referring to it.
func TestLargeObjectsOfOthersStayTheirs(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, objectTables), textColumns)
	tn, conn := b.withObjects("acme")
	other, thief := b.withObjects("globex")
	number := scalar(t, conn, "SELECT a FROM files WHERE id = 1")
	if _, err := thief.Exec(t.Context(), "INSERT INTO plain VALUES (1, "+number+"); SELECT lo_from_bytea(0, 'nobody refers to it')", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	found, err := b.LargeObjects(t.Context(), other)
	must(t, err)
	want := "large objects of role ROLE to which no column refers: 1; large objects that columns refer to and the tenant may not read: 1"
	if got := strings.ReplaceAll(strings.Join(found.Left, "; "), other.Role, "ROLE"); got != want || found.Carried != 6 {
		t.Errorf("told of %q and %d, want %q and 6", got, found.Carried, want)
	}
	if found, err := b.LargeObjects(t.Context(), tn); err != nil || len(found.Left) > 0 || found.Carried != 6 {
		t.Errorf("the other tenant has %v, %v", found, err)
	}
	m := b.dump(other)
	if part := m.file(t, partObjects); part.part.Rows != 6 || strings.Contains(part.String(), fmt.Sprintf(`"oid":%s,`, number)) {
		t.Errorf("the backup has %d large objects, and one that the tenant may not read", part.part.Rows)
	}
	if rows := m.file(t, "plain").String(); !strings.Contains(rows, "1\t"+number+"\n") {
		t.Errorf("the value is not as it was in\n%s", rows)
	}
	must(t, b.Drop(t.Context(), other))
	if n := b.objectsOwnedBy(tn.Role); n != "6" {
		t.Errorf("after the other tenant was dropped, the first owns %s large objects, want 6", n)
	}
	warned := false
	for _, c := range b.Doctor(t.Context()) {
		warned = warned || c.Name == "large objects" && strings.HasPrefix(c.Message, "6 are in the database")
	}
	if !warned {
		t.Error("doctor does not say that there are large objects")
	}
}

func TestALargeObjectThatOthersReferToOutlivesItsOwner(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, objectTables), textColumns)
	tn, conn := b.withObjects("acme")
	other := b.created("globex")
	reader := b.as(other)
	number := scalar(t, conn, "SELECT a FROM files WHERE id = 1")
	if _, err := conn.Exec(t.Context(), fmt.Sprintf("GRANT SELECT ON LARGE OBJECT %s TO %s", number, quote(other.Role))); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec(t.Context(), "INSERT INTO plain VALUES (1, "+number+")"); err != nil {
		t.Fatal(err)
	}
	copied := b.tenant("initech")
	must(t, b.Clone(t.Context(), other, copied, true))
	must(t, b.Drop(t.Context(), tn))
	for who, conn := range map[string]tenant.DB{"tenant": reader, "copy": b.as(copied)} {
		if is := scalar(t, conn, "SELECT convert_from(lo_get(n), 'UTF8') FROM plain"); is != "one" {
			t.Errorf("the other %s reads %q", who, is)
		}
	}
	must(t, b.Drop(t.Context(), copied))
	must(t, b.Drop(t.Context(), other))
	if n := b.allObjects(); n != "0" {
		t.Errorf("after the last of them was dropped there are %s large objects", n)
	}
}

func TestAFailedLoadLeavesNoLargeObject(t *testing.T) {
	t.Parallel()
	for who, as := range provisioners {
		t.Run(who, func(t *testing.T) { failLoads(t, newBench(t, one(t, objectTables), textColumns, as)) })
	}
}

func failLoads(t *testing.T, b bench) {
	t.Helper()
	t.Parallel()
	tn, _ := b.withObjects("acme")
	m := b.dump(tn)
	for _, change := range []struct{ part, from, to string }{
		{"files", "12 Main Street", "12\tMain Street"},
		{partPost, "PRIMARY KEY (id)", "PRIMARY KEY (nothing)"},
		{partObjects, "decode('6f", "decode('\\6f"},
		{partObjects, `"oid":`, `"oid":9`},
	} {
		f := m.file(t, change.part)
		content := f.String()
		f.Reset()
		f.WriteString(strings.Replace(content, change.from, change.to, 1))
		to := b.tenant("globex")
		if err := m.into(t.Context(), b.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true, Parallel: 1}, 1<<20); err == nil {
			t.Errorf("a damaged %s was loaded", change.part)
		}
		must(t, b.Drop(t.Context(), to))
		if n := b.allObjects(); n != "6" {
			t.Errorf("after a damaged %s there are %s large objects, want the source's 6", change.part, n)
		}
		f.Reset()
		f.WriteString(content)
	}
}

func TestAPartialLoadMakesTheLargeObjectsOfItsTables(t *testing.T) {
	t.Parallel()
	for who, as := range provisioners {
		t.Run(who, func(t *testing.T) { loadPart(t, newBench(t, one(t, objectTables), textColumns, as)) })
	}
}

func loadPart(t *testing.T, b bench) {
	t.Helper()
	t.Parallel()
	tn, _ := b.withObjects("acme")
	m := b.dump(tn)
	to := b.tenant("globex")
	must(t, m.into(t.Context(), b.Resource, to, tenant.LoadOptions{Names: []string{"parted"}, Parallel: 1}, 1<<20))
	if n := b.scalar("SELECT count(*) FROM pg_largeobject_metadata m JOIN %s.parted ON c = m.oid", to.Schema); n != "1" || b.allObjects() != "7" {
		t.Errorf("%s large objects are referred to, of %s", n, b.allObjects())
	}
	must(t, b.Drop(t.Context(), to))
	if n := b.allObjects(); n != "6" {
		t.Errorf("after the part was dropped there are %s large objects", n)
	}
}

func TestLargeObjectsOfAnAdoptedTenantAreItsOwners(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, objectTables))
	tn, owner, _ := owned(t, b, "acme")
	conn := b.loginAs(owner)
	for _, sql := range []string{
		fmt.Sprintf("CREATE TABLE %s.files (a oid)", quote(tn.Schema)), fmt.Sprintf("INSERT INTO %s.files VALUES (lo_from_bytea(0, 'one'))", quote(tn.Schema)),
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	tn.Adopted, tn.Role = true, ""
	m := b.dump(tn)
	to := b.tenant("globex")
	must(t, m.into(t.Context(), b.Resource, to, tenant.LoadOptions{Owner: owner, Parallel: 1}, 1<<20))
	if is := scalar(t, conn, fmt.Sprintf("SELECT convert_from(lo_get(a), 'UTF8') FROM %s.files", quote(to.Schema))); is != "one" || b.objectsOwnedBy(owner) != "2" {
		t.Errorf("the owner reads %q, and owns %s large objects", is, b.objectsOwnedBy(owner))
	}
	to.Adopted, to.Role = true, ""
	must(t, b.Drop(t.Context(), to))
	if n := b.objectsOwnedBy(owner); n != "1" {
		t.Errorf("after the copy was dropped the owner has %s large objects, want 1", n)
	}
}

func TestVerifyFindsLargeObjectsThatAreLost(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, objectTables), textColumns)
	tn, conn := b.withObjects("acme")
	other, _ := b.withObjects("globex")
	tn.State, other.State = tenant.Active, tenant.Active
	judged := []tenant.Tenant{tn, other}
	lost := func() string {
		t.Helper()
		var all []string
		must(t, b.Verify(t.Context(), judged, nil, func(f tenant.Fault) {
			if f.Rule == ruleLostObject {
				all = append(all, map[bool]string{true: "acme"}[f.Tenant == tn.ID]+" "+f.Object+" "+f.Message)
			}
		}))
		slices.Sort(all)
		return strings.Join(all, "; ")
	}
	// files.kind holds the number of a table, and one of nothing: it is no column of large objects.
	if got := lost(); got != "" {
		t.Errorf("nothing is lost, and verify finds %s", got)
	}
	for _, sql := range []string{"SELECT lo_unlink(a) FROM files WHERE id = 1", "SELECT lo_unlink(path::oid) FROM files WHERE id = 1", "SELECT lo_unlink(c) FROM parted"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	const numbers = " holds 1 numbers of large objects that are not there"
	want := strings.Join([]string{"acme column files.a holds 2 numbers of large objects that are not there", "acme column files.path" + numbers, "acme column parted_1.c" + numbers}, "; ")
	if got := lost(); got != want {
		t.Errorf("verify finds %s, want %s", got, want)
	}
	// All that this column refers to is lost: the other tenant, where it refers to objects, tells what it is for.
	if _, err := conn.Exec(t.Context(), "SELECT lo_unlink(a) FROM files WHERE id = 2"); err != nil {
		t.Fatal(err)
	}
	want = strings.Replace(want, "files.a holds 2", "files.a holds 3", 1)
	if got := lost(); got != want {
		t.Errorf("where all objects of a column are lost, verify finds %s, want %s", got, want)
	}
	judged = judged[:1]
	b.exec("CREATE SCHEMA extensions; CREATE EXTENSION lo SCHEMA extensions")
	if strings.Contains(lost(), "files.a") {
		t.Error("a column of type oid without any object is taken for one that refers to some")
	}
	b.exec("CREATE TRIGGER manage BEFORE UPDATE OR DELETE ON %s.files FOR EACH ROW EXECUTE FUNCTION extensions.lo_manage(a)", tn.Schema)
	if got := lost(); got != want {
		t.Errorf("where a trigger takes care of the column's objects, verify finds %s, want %s", got, want)
	}
}

// discarded is a writer that keeps nothing.
type discarded struct{ bytes atomic.Int64 }

func (d *discarded) Create(string, string) (tenant.PartFile, error) { return d, nil }
func (d *discarded) End(int64, uint64) error                        { return nil }
func (d *discarded) Write(p []byte) (int, error) {
	d.bytes.Add(int64(len(p)))
	return len(p), nil
}

func TestMemoryDoesNotGrowWithTheSizeOfALargeObject(t *testing.T) {
	b := newBench(t, one(t, objectTables))
	tn := b.created("acme")
	if _, err := b.as(tn).Exec(t.Context(), `INSERT INTO plain SELECT 1, lo_from_bytea(0, decode(repeat('00', 1), 'hex'));
		SELECT lo_put(n, i::bigint << 20, decode(repeat('5a', 1 << 20), 'hex')) FROM plain, generate_series(0, 63) i`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	d := new(discarded)
	peak := heapPeak(func() {
		_, err := b.Dump(t.Context(), tn, d, tenant.DumpOptions{Parallel: 1})
		must(t, err)
		must(t, b.Clone(t.Context(), tn, b.tenant("globex"), true))
	})
	if d.bytes.Load() < 128<<20 {
		t.Errorf("a dump of 64 MB in hex has %d bytes", d.bytes.Load())
	}
	if peak > 48<<20 {
		t.Errorf("the heap grew by %d MB for an object of 64 MB", peak>>20)
	}
}

// heapPeak is by how much the heap grew at most while f ran.
func heapPeak(f func()) int64 {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	read := func() int64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	before, peak := read(), atomic.Int64{}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
				peak.Store(max(peak.Load(), read()-before))
			}
		}
	}()
	f()
	close(done)
	<-ended
	return peak.Load()
}
