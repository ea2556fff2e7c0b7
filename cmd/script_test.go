package cmd_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

var update = flag.Bool("update", false, "write what the program printed into the scripts")

// TestScript runs the program whole, as a person or a pipeline does. Beside testscript's own commands, scripts have:
//
//	tenantctl ARGS...            the program; it has to end well
//	exit CODE tenantctl ARGS...  the program; it has to end with that code
//	canonical stdout|stderr      makes the last output, one JSON document, comparable with cmp stdout
//	capture NAME REGEXP          sets a variable to what the group matches in the last output, and hides it if NAME is PASSWORD
//	snapshot, unchanged [tenants]
//	                             takes down what every store holds; fails where that is not what they hold now,
//	                             or with "tenants" where a tenant is not what it was: operations leave a history
//	[!] sql super|server|provisioner|URL STATEMENT
//	                             runs SQL as super, as super in the server's own database,
//	                             as provisioner, or at a URL; rows go to stdout; @FILE is what a file holds
//	[!] mongo DATABASE COMMAND   runs a command in Extended JSON, in a database named without the prefix
//	secret TEXT                  from now on the program must not print it
//	fake WHAT                    puts a stand-in in place of a server
//	tenants N FILE               writes a CSV file with the tenants bulk-0001 to N
//
// After each run of the program, what every command promises is checked: see checkOutput.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup:         setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"tenantctl": func(ts *testscript.TestScript, neg bool, args []string) { runProgram(ts, neg, 0, args) },
			"exit":      scriptExit,
			"canonical": scriptCanonical,
			"capture":   scriptCapture,
			"snapshot":  func(ts *testscript.TestScript, _ bool, _ []string) { scriptOf(ts).take(ts) },
			"unchanged": func(ts *testscript.TestScript, _ bool, args []string) { scriptOf(ts).compare(ts, args) },
			"sql":       scriptSQL,
			"mongo":     scriptMongo,
			"secret":    func(ts *testscript.TestScript, _ bool, args []string) { scriptOf(ts).hide(args...) },
			"fake":      scriptFake,
			"tenants":   scriptTenants,
		},
	})
}

// script is what the commands of one script share.
type script struct {
	*world
	t         testing.TB
	program   string
	secrets   []string
	canonical canonical
	before    []string

	stdout, stderr string // of the program's last run
}

type scriptKey struct{}

func setupScript(env *testscript.Env) error {
	t := env.T().(testing.TB)
	program, err := os.Executable()
	if err != nil {
		return err
	}
	s := &script{world: newWorld(t), t: t, program: program}
	s.canonical = canonical{prefix: s.prefix, ids: map[string]string{}}
	for _, u := range []string{s.postgres, s.mongodb, tenanttest.SuperuserURL(t)} {
		if u, err := url.Parse(u); err == nil {
			if password, set := u.User.Password(); set {
				s.hide(password)
			}
		}
	}
	env.Values[scriptKey{}] = s
	home := filepath.Join(env.WorkDir, "home")
	env.Vars = append(env.Vars, s.env()...)
	// A program that was built with the race detector waits a second at its end unless told otherwise.
	env.Vars = append(env.Vars, asProgram+"=1", "GORACE=atexit_sleep_ms=0", "TENANTCTL_ACTOR=tester", "TENANTCTL_BACKUP_URL="+filepath.Join(env.WorkDir, "backups"), "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, ".config"), "PREFIX="+strings.TrimSuffix(s.prefix, "_"), "TESTBINARY="+program)
	copyMigrations(t, env.WorkDir)
	return os.MkdirAll(home, 0o755)
}

func scriptOf(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

func (s *script) hide(secrets ...string) { s.secrets = append(s.secrets, secrets...) }

func scriptExit(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || args[1] != "tenantctl" {
		ts.Fatalf("usage: exit CODE tenantctl ARGS...")
	}
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	runProgram(ts, neg, code, args[2:])
}

// raced are the scripts whose program has the race detector, one for each kind of work that is done by many at once; the
// others would take half as long again with it. Reading SQL has to do without: PostgreSQL's parser takes ten times as long to
// get ready, which would be minutes of these tests; package lint's own have the detector.
var raced = map[string]bool{"adopt": true, "backup": true, "create_many": true, "exec": true, "import": true, "migrate": true, "probe": true, "purge": true, "rollout": true, "verify": true}

func parses(args []string) bool {
	return len(args) > 1 && args[0] == "migrate" && (args[1] == "check" || slices.Contains(args, "--dry-run"))
}

func runProgram(ts *testscript.TestScript, neg bool, want int, args []string) {
	if neg {
		ts.Fatalf("say which exit code it is: exit CODE tenantctl ...")
	}
	s := scriptOf(ts)
	program := s.program
	if parses(args) || !raced[ts.Name()] {
		program = faulty(s.t)
	}
	err := ts.Exec(program, args...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("it exited with %d, want %d", code, want)
	}
	s.stdout, s.stderr = ts.ReadFile("stdout"), ts.ReadFile("stderr")
	if fault := s.checkOutput(s.stdout, s.stderr, code, args); fault != "" {
		ts.Fatalf("%s", fault)
	}
}

// Words that no person should have to read: of a crash, and of drivers.
var unwanted = []string{
	"panic:", "goroutine ", "runtime error", "pgconn", "pgx", "failed to", "dial tcp", "server selection error",
	"connection() error", "ERROR: ", "FATAL: ", "topology", "0x", "%!", "<nil>", "context canceled", "context deadline exceeded",
}

// At a terminal, what the person types ends the line of the question.
var errorLine = regexp.MustCompile(`(?m)^(Type .*: )?error: `)

// checkOutput tells what is wrong with what every command promises of its output: no secrets, no crash, no driver's
// words; one error, told once; and with -o json one document each on stdout and stderr, or none.
func (s *script) checkOutput(stdout, stderr string, code int, args []string) string {
	for _, secret := range s.secrets {
		if strings.Contains(stdout, secret) || strings.Contains(stderr, secret) {
			return "it printed a secret"
		}
	}
	for _, word := range unwanted {
		if strings.Contains(stderr, word) {
			return fmt.Sprintf("it printed %q", word)
		}
	}
	format := ""
	for i, a := range args {
		switch {
		case a == "--":
			args = args[:i]
		case (a == "-o" || a == "--output") && i+1 < len(args):
			format = args[i+1]
		case strings.HasPrefix(a, "--output="):
			format = strings.TrimPrefix(a, "--output=")
		}
		if a == "--" {
			break
		}
	}
	isFiltered := strings.HasPrefix(format, "jsonpath=") || slices.Contains(args, "--jq")
	if format == "json" && !isFiltered && stdout != "" {
		if fault := oneDocument(stdout); fault != "" {
			return "stdout: " + fault
		}
	}
	if given(args, "--log-format", "json") {
		return jsonLinesAlone(stderr, code)
	}
	switch faults := len(errorLine.FindAllString(stderr, -1)); {
	case code == 0 && faults > 0:
		return "it succeeded and printed an error"
	case code != 0 && (format == "json" || isFiltered):
		lines := strings.Split(strings.TrimSpace(stderr), "\n")
		var doc struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &doc); err != nil || doc.Error.Code == "" || doc.Error.Message == "" {
			return "the error is no JSON document with code and message"
		}
	case code != 0 && faults != 1 && !slices.Contains(args, "shell"):
		return fmt.Sprintf("it printed %d errors, want one", faults)
	}
	return ""
}

// given tells whether a flag was given with a value.
func given(args []string, flag, value string) bool {
	return slices.Contains(args, flag+"="+value) || strings.Contains(" "+strings.Join(args, " ")+" ", " "+flag+" "+value+" ")
}

// jsonLinesAlone holds stderr to objects, one a line, the last of which is the error where there is one.
func jsonLinesAlone(stderr string, code int) string {
	last := ""
	for line := range strings.Lines(stderr) {
		var doc struct {
			Time, Level, Msg string
			Error            struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(line), &doc); err != nil || doc.Time == "" || doc.Level == "" || doc.Msg == "" {
			return "with --log-format json, a line on stderr is not JSON with time, level and msg: " + line
		}
		last = doc.Error.Code
	}
	if code != 0 && last == "" {
		return "with --log-format json, the last line is no error with a code"
	}
	return ""
}

func oneDocument(text string) string {
	d := json.NewDecoder(strings.NewReader(text))
	var doc any
	if err := d.Decode(&doc); err != nil {
		return "it is not JSON: " + err.Error()
	}
	if d.More() {
		return "it is more than one JSON document"
	}
	return ""
}

func scriptCanonical(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: canonical stdout|stderr")
	}
	s := scriptOf(ts)
	text, err := s.canonical.document(map[string]string{"stdout": s.stdout, "stderr": s.stderr}[args[0]])
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), text)
}

func scriptCapture(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: capture NAME REGEXP")
	}
	s := scriptOf(ts)
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(s.stdout + "\n" + s.stderr)
	if len(m) != 2 {
		ts.Fatalf("%s does not match once with one group", args[1])
	}
	ts.Setenv(args[0], m[1])
	if args[0] == "PASSWORD" {
		s.hide(m[1])
	}
}

func (s *script) take(*testscript.TestScript) { s.before = s.everything(s.t) }

func (s *script) compare(ts *testscript.TestScript, args []string) {
	if s.before == nil {
		ts.Fatalf("there is no snapshot to compare with")
	}
	locks := func(line string) bool { return strings.HasPrefix(line, "tenantctl.locks ") } // what they were for is over
	before, now := slices.DeleteFunc(slices.Clone(s.before), locks), slices.DeleteFunc(s.everything(s.t), locks)
	if len(args) == 1 && args[0] == "tenants" {
		history := func(line string) bool {
			return regexp.MustCompile(`^tenantctl\.(operations|steps|audit|structures|route_changes) `).MatchString(line)
		}
		before, now = slices.DeleteFunc(before, history), slices.DeleteFunc(now, history)
	}
	if diff := differences(before, now); diff != "" {
		ts.Fatalf("something was changed:\n%s", diff)
	}
}

func scriptSQL(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: sql super|server|provisioner|URL STATEMENT")
	}
	s := scriptOf(ts)
	to := args[0]
	switch to {
	case "super":
		to = s.as(s.t, tenanttest.SuperuserURL(s.t))
	case "server":
		to = tenanttest.SuperuserURL(s.t)
	case "provisioner":
		to = s.postgres
	}
	statement := args[1]
	if file, ok := strings.CutPrefix(statement, "@"); ok {
		statement = ts.ReadFile(file)
	}
	ctx := context.Background()
	rows, err := querySQL(ctx, to, statement)
	fmt.Fprint(ts.Stdout(), rows)
	if err != nil {
		fmt.Fprintln(ts.Stderr(), err)
	}
	if (err != nil) != neg {
		ts.Fatalf("sql: %v", err)
	}
}

func querySQL(ctx context.Context, to, statement string) (string, error) {
	conn, err := pgx.Connect(ctx, to)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, statement, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var out strings.Builder
	for rows.Next() {
		for i, v := range rows.RawValues() {
			if i > 0 {
				out.WriteByte('\t')
			}
			out.Write(v)
		}
		out.WriteByte('\n')
	}
	return out.String(), rows.Err()
}

func scriptMongo(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: mongo DATABASE COMMAND")
	}
	s := scriptOf(ts)
	var command bson.D
	ts.Check(bson.UnmarshalExtJSON([]byte(args[1]), false, &command))
	var reply bson.Raw
	err := s.mongo.Database(s.prefix+args[0]).RunCommand(context.Background(), command).Decode(&reply)
	fmt.Fprintln(ts.Stdout(), reply)
	if (err != nil) != neg {
		ts.Fatalf("mongo: %v", err)
	}
}

func scriptTenants(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: tenants N FILE")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	var b strings.Builder
	b.WriteString("name,domains,label.plan\n")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "bulk-%04d,b%04d.%s.example.com,%s\n", i, i, strings.Trim(scriptOf(ts).prefix, "_"), []string{"free", "pro"}[i%2])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(b.String()), 0o600))
}
