package nosql

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestReadsTheExampleInOrder(t *testing.T) {
	r := New(nil, Config{Dir: example})
	files, err := r.Files(t.Context())
	must(t, err)
	var got []string
	for _, f := range files {
		got = append(got, fmt.Sprint(f.Version, f.Name, " ", filepath.Base(f.Path), " ", len(f.Checksum)))
	}
	want := "1documents 00001_documents.up.json 72,2comments 00002_comments.up.json 72,3labels 00003_labels.up.json 72"
	if strings.Join(got, ",") != want {
		t.Errorf("files are %v", got)
	}
	findings, err := r.Check(t.Context())
	must(t, err)
	if len(findings) != 0 {
		t.Errorf("findings are %v", findings)
	}
}

func TestAChecksumCoversBothSides(t *testing.T) {
	sum := func(files map[string]string) string {
		got, err := New(nil, Config{Dir: folder(t, files)}).Files(t.Context())
		must(t, err)
		return got[0].Checksum
	}
	seen := map[string]bool{}
	for _, files := range []map[string]string{
		{"1_a.up.json": `[{"create": "a"}]`},
		{"1_a.up.json": `[{"create": "b"}]`},
		{"1_a.up.json": `[{"create": "a"}]`, "1_a.down.json": `[{"drop": "a"}]`},
		{"1_a.up.json": `[{"create": "a"}]`, "1_a.down.json": `[]`},
	} {
		seen[sum(files)] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d checksums of 4", len(seen))
	}
}

func TestAChecksumIsOfWhatAFileDoes(t *testing.T) {
	file := func(content string) tenant.MigrationFile {
		got, err := New(nil, Config{Dir: folder(t, map[string]string{"1_a.up.json": content})}).Files(t.Context())
		must(t, err)
		return got[0]
	}
	const content = "[\n  {\"insert\": \"a\", \"documents\": [{\"_id\": \"x  y\", \"n\": 1}]}\n]\n"
	was := file(content)
	for _, same := range []string{
		strings.ReplaceAll(content, "\n", "\r\n"), strings.ReplaceAll(content, "\n", " "), strings.TrimSpace(content),
		strings.Replace(content, `1`, `{"$numberInt": "1"}`, 1),
	} {
		if file(same).Checksum != was.Checksum {
			t.Errorf("%s has another checksum", same)
		}
	}
	for _, other := range []string{strings.Replace(content, "x  y", "x y", 1), strings.Replace(content, `"n": 1`, `"n": 2`, 1), "[]"} {
		if file(other).Checksum == was.Checksum {
			t.Errorf("%s has the same checksum", other)
		}
	}
	if bytes := fmt.Sprintf("%x", sha256.Sum256([]byte(content))); !slices.Contains(was.Earlier, bytes) || was.Empty || !file("[]").Empty {
		t.Errorf("the file is %+v", was)
	}
}

func TestSeesThatAFileChanged(t *testing.T) {
	dir := folder(t, map[string]string{"1_a.up.json": `[{"create": "a"}]`})
	r := New(nil, Config{Dir: dir})
	past := time.Now().Add(-time.Hour)
	for _, content := range []string{`[{"create": "b"}]`, `[{"create": "c"}]`, `[{"create": "d"}]`} {
		must(t, os.Chtimes(filepath.Join(dir, "1_a.up.json"), past, past))
		for range 2 {
			_, err := r.load()
			must(t, err)
		}
		put(t, dir, "1_a.up.json", content)
		files, err := r.load()
		must(t, err)
		if got := string(files[0].up.data); got != content {
			t.Errorf("read %s, want %s", got, content)
		}
	}
}

func TestOrdersByNumberNotByText(t *testing.T) {
	files, err := New(nil, Config{Dir: folder(t, map[string]string{
		"10_b.up.json": `[{"create": "b"}]`, "9_a.up.json": `[{"create": "a"}]`, ".hidden.json": "x", "README.md": "x", "20260131120000_c.up.json": `[{"create": "c"}]`,
	})}).Files(t.Context())
	must(t, err)
	if len(files) != 3 || files[0].Version != 9 || files[1].Version != 10 || files[2].Version != 20260131120000 {
		t.Errorf("files are %v", files)
	}
}

func TestNamesTheFileAndThePlaceOfAFault(t *testing.T) {
	const good = `[{"create": "a"}]`
	for _, c := range []struct {
		file, content string
		says          string
		rule          string
	}{
		{"1_a.up.json", "[\n  {\"create\": \"a\"},\n  {\"create\" \"b\"}\n]", "1_a.up.json:3:13: invalid character '\"' after object key", "json"},
		{"1_a.up.json", "[{\"create\": \"ä\"}, x]", "1_a.up.json:1:19: invalid character 'x'", "json"},
		{"1_a.up.json", "[{\"create\": \"a\"}", "1_a.up.json:1:16: unexpected end of JSON input", "json"},
		{"1_a.up.json", "[{\"create\": \"a\"}] []", "1_a.up.json:1:19: invalid character '[' after top-level value", "json"},
		{"1_a.up.json", `[{"create": "a"},]`, "invalid character ']'", "json"},
		{"1_a.up.json", "", "1_a.up.json: is empty", "json"},
		{"1_a.up.json", " \n\t", "1_a.up.json: is empty", "json"},
		{"1_a.up.json", "\n {\"create\": \"a\"}", "1_a.up.json:2:2: is no array of commands", "json"},
		{"1_a.up.json", `"text"`, "1_a.up.json:1:1: is no array of commands", "json"},
		{"1_a.up.json", "[{\"create\": \"\xff\"}]", "1_a.up.json: is not UTF-8", "json"},
		{"1_a.up.json", "[{\"create\": \"a\"},\n 7]", "1_a.up.json:2:2: command 2: is no document", "json"},
		{"1_a.up.json", `[null]`, "command 1: is no document", "json"},
		{"1_a.up.json", `[{}]`, "1_a.up.json:1:2: command 1: has no name", "command"},
		{"1_a.up.json", `[{"insert": "a", "documents": [{"_id": {"$oid": "xyz"}}]}]`, "1_a.up.json:1:2: command 1: is no Extended JSON", "json"},
		{"1_a.up.json", `[{"create": 7}]`, "create: the collection is missing", "collection"},
		{"1_a.up.json", `[{"create": ""}]`, "create: the collection is missing", "collection"},
		{"1_a.up.json", `[{"drop": "tenantctl"}]`, "the collection tenantctl is tenantctl's own", "collection"},
		{"1_a.up.json", `[{"insert": "schema_migrations", "documents": []}]`, "the collection schema_migrations is tenantctl's own", "collection"},
		{"1_a.up.json", `[{"insert": "system.users", "documents": []}]`, "the collection system.users is the server's own", "collection"},
		{"1_a.up.json", `[{"createUser": "x", "pwd": "y", "roles": []}]`, "createUser is refused: tenantctl alone makes users", "command"},
		{"1_a.up.json", `[{"grantRolesToUser": "x", "roles": []}]`, "grantRolesToUser is refused", "command"},
		{"1_a.up.json", `[{"dropDatabase": 1}]`, "dropDatabase is refused: it would take the version book along", "command"},
		{"1_a.up.json", `[{"shutdown": 1}]`, `"shutdown" is refused: it may reach beyond the tenant's database`, "command"},
		{"1_a.up.json", `[{"find": "a"}]`, `"find" is refused`, "command"},
		{"1_a.up.json", `[{"create": "a", "$db": "other"}]`, "create a names a database ($db)", "database"},
		{"1_a.up.json", `[{"insert": "a", "documents": [], "writeConcern": {"w": 0}}]`, "asks for no acknowledgement", "command"},
		{"1_a.up.json", `[{"renameCollection": "db.a", "to": "db.b"}]`, "give both collections by name alone", "database"},
		{"1_a.up.json", `[{"renameCollection": "a", "to": "other.b"}]`, "give both collections by name alone", "database"},
		{"1_a.up.json", `[{"renameCollection": "a"}]`, "renameCollection: to: the collection is missing", "collection"},
		{"1_a.up.json", `[{"renameCollection": "a", "to": "tenantctl"}]`, "the collection tenantctl is tenantctl's own", "collection"},
		{"1_a.up.json", `[{"aggregate": "a", "pipeline": [{"$match": {}}], "cursor": {}}]`, "changes nothing: end it with $out or $merge", "command"},
		{"1_a.up.json", `[{"aggregate": "a", "pipeline": [{"$out": {"db": "other", "coll": "b"}}], "cursor": {}}]`, "$out names a database", "database"},
		{"1_a.up.json", `[{"aggregate": "a", "pipeline": [{"$merge": {"into": {"db": "other", "coll": "b"}}}], "cursor": {}}]`, "$merge names a database", "database"},
		{"1_a.up.json", `[{"aggregate": "a", "pipeline": [{"$facet": {"x": [{"$lookup": {"from": {"db": "other", "coll": "b"}}}]}}, {"$out": "b"}], "cursor": {}}]`, "$lookup names a database", "database"},
		{"1_a.up.json", `[{"aggregate": "a", "pipeline": [{"$out": "schema_migrations"}], "cursor": {}}]`, "$out: the collection schema_migrations", "collection"},
		{"1_a.up.json", `[{"aggregate": "a", "pipeline": [{"$merge": "tenantctl"}], "cursor": {}}]`, "$merge: the collection tenantctl", "collection"},
		{"1_a.up.json", `[{"aggregate": "a", "pipeline": [{"$merge": {"into": {"coll": "tenantctl"}}}], "cursor": {}}]`, "$merge: the collection tenantctl", "collection"},
		{"1_a.up.json", `[{"create": "v", "viewOn": "a", "pipeline": [{"$lookup": {"from": {"db": "other", "coll": "b"}}}]}]`, "$lookup names a database", "database"},
		{"1_a.json", good, "1_a.json: is not named as a migration; name it like 00001_name.up.json", "name"},
		{"a.up.JSON", good, "a.up.JSON: is not named as a migration", "name"},
		{"1_a.up.js", good, "1_a.up.js: is no .json file", "name"},
		{"1_a.up.json~", good, "1_a.up.json~: is no .json file", "name"},
		{"0_a.up.json", good, "0_a.up.json: a version is a number from 1", "name"},
		{"99999999999999999999_a.up.json", good, "a version is a number from 1", "name"},
		{"01_b.up.json", good, "version 1 is also in", "duplicate"},
		{"5_b.down.json", good, "5_b.down.json: version 5 has no up file", "missing-up"},
	} {
		t.Run(c.file+" "+c.says, func(t *testing.T) {
			files := map[string]string{"1_a.up.json": good, "3_c.up.json": good}
			files[c.file] = c.content
			r := New(nil, Config{Dir: folder(t, files)})
			_, err := r.Files(t.Context())
			refuses(t, err, tenant.ErrMigration, c.says, "tenantctl migrate check")
			findings, err := r.Check(t.Context())
			must(t, err)
			if len(findings) == 0 || findings[0].Severity != "error" || findings[0].Rule != c.rule || findings[0].Store != "mongodb" {
				t.Errorf("findings are %+v", findings)
			}
		})
	}
}

func TestAllowsWhatStaysInTheDatabase(t *testing.T) {
	for _, text := range []string{
		`{"collMod": "a", "validator": {"$jsonSchema": {}}}`,
		`{"create": "fs.files"}`,
		`{"aggregate": "a", "pipeline": [{"$lookup": {"from": "b", "as": "x"}}, {"$out": "c"}], "cursor": {}}`,
		`{"aggregate": "a", "pipeline": [{"$merge": {"into": "c", "on": "_id"}}], "cursor": {}}`,
		`{"insert": "a", "documents": [{"db": "other", "$out": 1}]}`,
		`{"findAndModify": "a", "query": {}, "remove": true}`,
	} {
		one(t, text)
	}
}

func TestAFolderThatIsMissingOrEmpty(t *testing.T) {
	for _, dir := range []string{filepath.Join(t.TempDir(), "gone"), t.TempDir(), folder(t, map[string]string{"README.md": "x", ".gitkeep": ""})} {
		r := New(nil, Config{Dir: dir})
		_, err := r.Files(t.Context())
		refuses(t, err, tenant.ErrInvalid, dir, "tenantctl migrate new NAME --mongodb")
		_, err = r.Check(t.Context())
		refuses(t, err, tenant.ErrInvalid, dir)
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	_, err := New(nil, Config{Dir: file}).Files(t.Context())
	refuses(t, err, tenant.ErrInvalid, file, "not a directory")
}

func TestAFileThatIsTooLarge(t *testing.T) {
	dir := folder(t, map[string]string{"1_a.up.json": "[]"})
	must(t, os.Truncate(filepath.Join(dir, "1_a.up.json"), maxFile+1))
	_, err := New(nil, Config{Dir: dir}).Files(t.Context())
	refuses(t, err, tenant.ErrMigration, "is larger than 16 MiB")
}

func TestCheckFindsWhatIsRisky(t *testing.T) {
	r := New(nil, Config{Dir: folder(t, map[string]string{
		"1_a.up.json":              `[{"create": "a"}]`,
		"1_a.down.json":            `[]`,
		"2_b.up.json":              `[]`,
		"4_c.up.json":              "[\n{\"insert\": \"a\", \"documents\": [{\"_id\": 1}, {\"x\": 1}]},\n{\"update\": \"a\", \"updates\": [{\"q\": {}, \"u\": {\"$inc\": {\"n\": 1}}}]},\n{\"update\": \"a\", \"updates\": [{\"q\": {}, \"u\": [{\"$set\": {\"n\": {\"$add\": [\"$n\", 1]}}}]}]}, {\"findAndModify\": \"a\", \"update\": {\"$push\": {\"l\": 1}}},\n{\"insert\": \"a\", \"documents\": [{\"_id\": 2, \"at\": {\"$date\": \"2026-01-01T00:00:00Z\"}}]}]",
		"4_c.down.json":            `[{"update": "a", "updates": [{"q": {}, "u": {"$set": {"n": 1}}}, {"q": {}, "u": [{"$set": {"n": "$m"}}]}]}, {"delete": "a", "deletes": [{"q": {}, "limit": 0}]}]`,
		"20260131120000_d.up.json": `[{"create": "d"}]`,
	})})
	findings, err := r.Check(t.Context())
	must(t, err)
	var got []string
	for _, f := range findings {
		got = append(got, fmt.Sprintf("%s %s:%d %s %s", f.Severity, filepath.Base(f.File), f.Line, f.Rule, f.Message))
	}
	want := []string{
		"warning 1_a.down.json:0 empty holds no command: nothing would be undone",
		"warning 2_b.up.json:0 missing-down version 2 has no down file",
		"error 2_b.up.json:0 empty holds no command",
		"warning 4_c.up.json:0 gap version 4 follows version 2",
		"warning 4_c.up.json:2 repeat insert a has a document without _id",
		"warning 4_c.up.json:3 repeat update a uses $inc",
		"warning 4_c.up.json:4 repeat update a sets n from itself",
		"warning 4_c.up.json:4 repeat findAndModify a uses $push",
		"warning 4_c.up.json:5 canonical insert a is in relaxed Extended JSON",
		"warning 20260131120000_d.up.json:0 missing-down version 20260131120000",
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("findings are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestNewFollowsTheNumbersOfTheFolder(t *testing.T) {
	for _, c := range []struct {
		there, name, want string
	}{
		{"", "Add Invoices", "00001_add_invoices"},
		{"00009_x.up.json", "next", "00010_next"},
		{"9_x.up.json", "next", "10_next"},
		{"003_x.up.json", "next", "004_next"},
		{"99_x.up.json", "next", "100_next"},
	} {
		files := map[string]string{}
		if c.there != "" {
			files[c.there] = "broken"
		}
		dir := filepath.Join(folder(t, files), "")
		r := New(nil, Config{Dir: dir})
		paths, err := r.New(c.name, false)
		must(t, err)
		if len(paths) != 2 || paths[0] != filepath.Join(dir, c.want+".up.json") || paths[1] != filepath.Join(dir, c.want+".down.json") {
			t.Errorf("%s: wrote %v", c.there, paths)
		}
	}

	r := New(nil, Config{Dir: folder(t, map[string]string{"20260131120000_x.up.json": "[]"})})
	paths, err := r.New("next", false)
	must(t, err)
	if v, _, _, _ := parseName(filepath.Base(paths[0])); v <= 20260131120000 || len(fmt.Sprint(v)) != 14 {
		t.Errorf("wrote %v", paths)
	}
}

func TestNewWritesWhatCheckAndTheServerAccept(t *testing.T) {
	r := direct(t, filepath.Join(t.TempDir(), "made", "by-new"))
	for _, name := range []string{"one", "two-parts"} {
		_, err := r.New(name, false)
		must(t, err)
	}
	findings, err := r.Check(t.Context())
	must(t, err)
	if len(findings) != 0 {
		t.Errorf("findings are %v", findings)
	}
	ten := migrated(t, r)
	moved, err := r.Down(t.Context(), ten, 0)
	must(t, err)
	if len(moved.Ran) != 2 {
		t.Errorf("moved %+v", moved)
	}
}

func TestNewRefusesABadNameAndNeverWritesOver(t *testing.T) {
	dir := t.TempDir()
	r := New(nil, Config{Dir: dir})
	for _, name := range []string{"", "../x", "a/b", "ä", "-a", strings.Repeat("a", 101), "a.up.json"} {
		_, err := r.New(name, false)
		refuses(t, err, tenant.ErrInvalid, "invalid name of a migration")
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 0 {
		t.Errorf("wrote %v", entries)
	}
	path := filepath.Join(dir, "00001_a.up.json")
	must(t, os.WriteFile(path, []byte("mine"), 0o600))
	refuses(t, writeFailure(path, writeNew(path, "new")), tenant.ErrInvalid, "write "+path+": file exists")
	if data, err := os.ReadFile(path); err != nil || string(data) != "mine" {
		t.Errorf("the file holds %q (%v)", data, err)
	}
}

func FuzzReadMigration(f *testing.F) {
	seeds, err := filepath.Glob(filepath.Join(example, "*.json"))
	if err != nil || len(seeds) == 0 {
		f.Fatal("no examples")
	}
	for _, s := range seeds {
		data, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, s := range []string{"", "[", "[]", "[{}]", "[1,{\"a\":{\"$oid\":1}}]", "[{\"create\":\"a\",\"$db\":\"x\"}]", "\xff", "[{\"aggregate\":\"a\",\"pipeline\":[{\"$merge\":{\"into\":{\"db\":1}}}]}]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		commands, flaws := readCommands(data)
		for _, fl := range flaws {
			if fl.problem == "" || fl.rule == "" || fl.line > 1+strings.Count(string(data), "\n") || (fl.line == 0) != (fl.column == 0) {
				t.Errorf("flaw without a place or a word: %+v", fl)
			}
		}
		for _, c := range commands {
			if c.name == "" || badCollection(c.collection) != "" || c.line < 1 {
				t.Errorf("accepted %+v", c)
			}
			unrepeatable(c)
			if _, problem := refusal(c, allowed, "a migration"); problem != "" && len(flaws) == 0 {
				t.Errorf("accepted %s, which is refused: %s", c, problem)
			}
		}
	})
}
