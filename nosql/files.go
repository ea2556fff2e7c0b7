package nosql

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// golang-migrate's own rule for names (source.Regex).
var fileName = regexp.MustCompile(`^([0-9]+)_(.*)\.(down|up)\.(.*)$`)

// maxFile bounds one file, in bytes: MongoDB takes no larger command than this either.
const maxFile = 16 << 20

// migration is one version on disk.
type migration struct {
	version  int64
	name     string
	up, down *side // down is nil where there is no such file
}

// side is one direction of a migration.
type side struct {
	path     string
	data     []byte
	commands []command
}

func (m migration) side(direction string) *side {
	if direction == up {
		return m.up
	}
	return m.down
}

func find(files []migration, v int64) *migration {
	i, found := slices.BinarySearchFunc(files, v, func(m migration, v int64) int { return cmp.Compare(m.version, v) })
	if !found {
		return nil
	}
	return &files[i]
}

// flaw is one thing that makes a file unusable.
type flaw struct {
	path         string
	line, column int // 0 where the whole file is meant
	rule         string
	problem      string
}

func (f flaw) String() string {
	at := f.path
	if f.line > 0 {
		at = fmt.Sprintf("%s:%d:%d", f.path, f.line, f.column)
	}
	return at + ": " + f.problem
}

// load reads the folder and refuses it whole where one file is unusable.
func (r *Resource) load() ([]migration, error) {
	files, flaws, err := r.readFolder()
	if err != nil {
		return nil, err
	}
	if len(flaws) > 0 {
		hint := "put the file right; tenantctl migrate check shows every fault"
		return nil, refused(tenant.ErrMigration, hint, "%s", flaws[0])
	}
	return files, nil
}

// Files reads the migrations on disk in order of version.
func (r *Resource) Files(context.Context) ([]tenant.MigrationFile, error) {
	files, err := r.load()
	if err != nil {
		return nil, err
	}
	out := make([]tenant.MigrationFile, len(files))
	for i, f := range files {
		out[i] = tenant.MigrationFile{
			Version: f.version, Name: f.name, Path: f.up.path, Checksum: f.checksum(), Earlier: f.earlierSums(), Empty: len(f.up.commands) == 0,
		}
	}
	return out, nil
}

// checksum is of the commands of both sides as BSON: how they are written does not count.
func (m migration) checksum() string {
	sum := sha256.New()
	for _, s := range []*side{m.up, m.down} {
		if s == nil {
			sum.Write([]byte("none"))
			continue
		}
		for _, c := range s.commands {
			sum.Write(c.raw) // which begins with its length
		}
		sum.Write([]byte("end"))
	}
	return "program:" + hex.EncodeToString(sum.Sum(nil))
}

// earlierSums are what earlier releases have recorded: sums of the bytes, with the one or the other kind of line ends.
func (m migration) earlierSums() []string {
	data := m.up.data
	if m.down != nil {
		data = slices.Concat(data, m.down.data)
	}
	return tenant.ByteSums(data)
}

// noMigrations refuses a folder that holds none.
func noMigrations(format, dir string) error {
	return &tenant.Error{
		Kind: tenant.ErrInvalid, Store: tenant.KindMongoDB, Msg: fmt.Sprintf(format, dir), Err: tenant.ErrNoMigrations,
		Hint: "write the first one with: tenantctl migrate new NAME --mongodb",
	}
}

// readFolder reads every migration there is, ordered by version, and everything that is wrong with one. An error means
// that there is nothing to read.
func (r *Resource) readFolder() ([]migration, []flaw, error) {
	dir := r.cfg.Dir
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, noMigrations("the folder of migrations %s does not exist", dir)
	case err != nil:
		return nil, nil, refused(tenant.ErrInvalid, "check migrations.mongodb in the configuration", "read the folder of migrations %s: %v", dir, errors.Unwrap(err))
	}
	byVersion := map[int64]*migration{}
	var flaws []flaw
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
			continue
		}
		v, name, direction, problem := parseName(e.Name())
		if problem != "" {
			flaws = append(flaws, flaw{path: path, rule: "name", problem: problem})
		}
		if direction == "" {
			continue
		}
		m := byVersion[v]
		if m == nil {
			m = &migration{version: v, name: name}
			byVersion[v] = m
		}
		if other := m.side(direction); other != nil {
			flaws = append(flaws, flaw{path: path, rule: "duplicate", problem: fmt.Sprintf("version %d is also in %s", v, filepath.Base(other.path))})
			continue
		}
		s, found := r.parsed.read(path)
		flaws = append(flaws, found...)
		if direction == up {
			m.up, m.name = s, name
		} else {
			m.down = s
		}
	}
	if len(byVersion) == 0 && len(flaws) == 0 {
		return nil, nil, noMigrations("the folder of migrations %s is empty", dir)
	}
	files := make([]migration, 0, len(byVersion))
	for _, m := range byVersion {
		if m.up == nil {
			flaws = append(flaws, flaw{path: m.down.path, rule: "missing-up", problem: fmt.Sprintf("version %d has no up file", m.version)})
			continue
		}
		files = append(files, *m)
	}
	slices.SortFunc(files, func(a, b migration) int { return cmp.Compare(a.version, b.version) })
	slices.SortStableFunc(flaws, func(a, b flaw) int { return cmp.Compare(a.path, b.path) })
	return files, flaws, nil
}

// parseName reads a file's name as golang-migrate does. direction is empty for a file that is no migration; a problem
// without a direction is one that looks as if it were meant to be.
func parseName(name string) (v int64, title, direction, problem string) {
	const want = "; name it like 00001_name.up.json"
	parts := fileName.FindStringSubmatch(name)
	switch {
	case parts == nil && strings.EqualFold(filepath.Ext(name), ".json"):
		return 0, "", "", "is not named as a migration" + want
	case parts == nil:
		return 0, "", "", ""
	case parts[4] != "json":
		return 0, "", "", "is no .json file" + want
	}
	v, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || v == 0 {
		return 0, "", "", "a version is a number from 1 to 9223372036854775807"
	}
	return v, parts[2], parts[3], ""
}

// sides keeps what was read, because a fleet asks for the same files once per tenant. It is safe for many goroutines.
type sides struct {
	mu     sync.Mutex
	byPath map[string]parsedSide
}

type parsedSide struct {
	size     int64
	modified time.Time
	side     *side
	flaws    []flaw
}

// settled is how long a file must have been left alone for its time to tell whether it changed.
const settled = 2 * time.Second

func (p *sides) read(path string) (*side, []flaw) {
	info, err := os.Stat(path)
	if err != nil {
		return unreadable(path, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if k, known := p.byPath[path]; known && k.size == info.Size() && k.modified.Equal(info.ModTime()) {
		return k.side, k.flaws
	}
	s, flaws := readSide(path, info.Size())
	if time.Since(info.ModTime()) > settled {
		if p.byPath == nil {
			p.byPath = map[string]parsedSide{}
		}
		p.byPath[path] = parsedSide{info.Size(), info.ModTime(), s, flaws}
	}
	return s, flaws
}

func unreadable(path string, err error) (*side, []flaw) {
	return &side{path: path}, []flaw{{path: path, rule: "unreadable", problem: "cannot be read: " + innermost(err)}}
}

func readSide(path string, size int64) (*side, []flaw) {
	s := &side{path: path}
	if size > maxFile {
		return s, []flaw{{path: path, rule: "size", problem: "is larger than 16 MiB; load data another way, such as mongoimport"}}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return unreadable(path, err)
	}
	var flaws []flaw
	s.data = data
	s.commands, flaws = readCommands(data)
	for i := range flaws {
		flaws[i].path = path
	}
	return s, flaws
}

// readCommands reads an array of commands in Extended JSON; the flaws have no path yet.
func readCommands(data []byte) ([]command, []flaw) {
	whole := func(problem string) []flaw { return []flaw{{rule: "json", problem: problem}} }
	at := func(offset int64, rule, problem string) flaw {
		line, column := position(data, offset)
		return flaw{line: line, column: column, rule: rule, problem: problem}
	}
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return nil, whole("is empty; a migration is an array of commands, such as [{\"create\": \"documents\"}]")
	case !utf8.Valid(data):
		return nil, whole("is not UTF-8")
	}
	// A first pass, because only this one tells exactly where the text is broken.
	var syntax *json.SyntaxError
	if err := json.Unmarshal(data, new(json.RawMessage)); errors.As(err, &syntax) {
		return nil, []flaw{at(syntax.Offset-1, "json", syntax.Error())}
	} else if err != nil {
		return nil, whole(err.Error())
	}
	if start := blank(data, 0); data[start] != '[' {
		return nil, []flaw{at(start, "json", "is no array of commands, such as [{\"create\": \"documents\"}]")}
	}
	var (
		commands []command
		flaws    []flaw
		dec      = json.NewDecoder(bytes.NewReader(data))
	)
	if _, err := dec.Token(); err != nil {
		return nil, whole(err.Error())
	}
	for n := 1; dec.More(); n++ {
		start := blank(data, dec.InputOffset())
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, append(flaws, at(start, "json", err.Error()))
		}
		c, rule, problem := parseCommand(raw)
		if problem != "" {
			flaws = append(flaws, at(start, rule, fmt.Sprintf("command %d: %s", n, problem)))
			continue
		}
		c.line, _ = position(data, start)
		commands = append(commands, c)
	}
	return commands, flaws
}

// parseCommand reads one element of the array.
func parseCommand(raw json.RawMessage) (c command, rule, problem string) {
	if c, rule, problem = decodeCommand(raw); problem == "" {
		rule, problem = refusal(c, allowed, "a migration")
	}
	return c, rule, problem
}

// decodeCommand reads a command, whatever it does.
func decodeCommand(raw json.RawMessage) (c command, rule, problem string) {
	if raw[0] != '{' {
		return command{}, "json", "is no document, such as {\"create\": \"documents\"}"
	}
	if err := bson.UnmarshalExtJSON(raw, false, &c.body); err != nil {
		return command{}, "json", "is no Extended JSON: " + err.Error()
	}
	if len(c.body) == 0 {
		return command{}, "command", "has no name"
	}
	c.name = c.body[0].Key
	c.collection, _ = c.body[0].Value.(string)
	// Which form the file is written in must not matter to the fingerprint of what has run.
	var err error
	if c.raw, err = bson.Marshal(c.body); err != nil {
		return command{}, "json", "is no Extended JSON: " + err.Error()
	}
	var strict bson.D
	c.relaxed = bson.UnmarshalExtJSON(raw, true, &strict) != nil
	return c, "", ""
}

// blank is the offset of the first byte from offset on that is neither space nor comma.
func blank(data []byte, offset int64) int64 {
	for offset < int64(len(data)) && bytes.IndexByte([]byte(" \t\r\n,"), data[offset]) >= 0 {
		offset++
	}
	return offset
}

// position gives line and column, both from 1, the column in characters.
func position(data []byte, offset int64) (line, column int) {
	offset = min(max(offset, 0), int64(len(data)))
	before := data[:offset]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}
