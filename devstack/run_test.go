//go:build unix

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func TestRunGivesTheCommandBothServers(t *testing.T) {
	ctx := context.Background()
	r := startShell(t, openTempDir(t), "cat >/dev/null")
	url := r.env["TENANTCTL_POSTGRES_URL"]

	got := queryText(t, url, `SELECT concat_ws(' ', current_user, current_database(), current_setting('fsync'), current_setting('max_connections'),
		current_setting('listen_addresses'), current_setting('password_encryption'), current_setting('server_encoding'))`)
	if want := "postgres tenantctl on 200 127.0.0.1 scram-sha-256 UTF8"; got != want {
		t.Errorf("PostgreSQL says %q, want %q", got, want)
	}

	client, err := mongo.Connect(options.Client().ApplyURI(r.env["TENANTCTL_NOSQL_URL"]))
	if err != nil {
		t.Fatal(err)
	}
	documents := client.Database("acme").Collection("documents")
	if _, err := documents.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}, {Key: "text", Value: "hello"}}); err != nil {
		t.Fatal(err)
	}
	var found struct{ Text string }
	if err := documents.FindOne(ctx, bson.D{{Key: "_id", Value: 1}}).Decode(&found); err != nil || found.Text != "hello" {
		t.Errorf("found %q (%v), want hello", found.Text, err)
	}
	if err := client.Disconnect(ctx); err != nil {
		t.Error(err)
	}

	r.end(0)
	r.expectNothingLeft()
}

func TestWrongPasswordsAreRefused(t *testing.T) {
	ctx := context.Background()
	r := startShell(t, openTempDir(t), "cat >/dev/null")
	config, err := pgx.ParseConfig(r.env["TENANTCTL_POSTGRES_URL"])
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	if _, err := admin.Exec(ctx, "CREATE ROLE acme LOGIN PASSWORD 'right'"); err != nil {
		t.Fatal(err)
	}

	tenant := config.Copy()
	tenant.User, tenant.Password = "acme", "right"
	conn, err := pgx.ConnectConfig(ctx, tenant)
	if err != nil {
		t.Fatalf("the right password is refused: %v", err)
	}
	_ = conn.Close(ctx)

	tenant.Password = "wrong"
	expectRefused(t, tenant)
	config.Password = "postgres"
	expectRefused(t, config)
	r.end(0)
}

func TestFastTurnsDurabilityOff(t *testing.T) {
	r := startShell(t, openTempDir(t), "cat >/dev/null", "--fast")
	got := queryText(t, r.env["TENANTCTL_POSTGRES_URL"],
		"SELECT concat_ws(' ', current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'))")
	if got != "off off off" {
		t.Errorf("fsync, synchronous_commit, full_page_writes are %s", got)
	}
	r.end(0)
}

func TestTheFirstPsqlOnPathIsTheServersOwn(t *testing.T) {
	// Another psql comes first, as from another version.
	other := openTempDir(t)
	writeProgram(t, other, "psql", "exit 1")
	t.Setenv("PATH", other+":"+os.Getenv("PATH"))
	r := startShell(t, openTempDir(t), "command -v psql; cat >/dev/null")
	bindir, exported := r.env["DEVSTACK_PG_BINDIR"]
	if !exported {
		// The server came without clients.
		bindir = other
	}
	r.expectLine(filepath.Join(bindir, "psql"))
	r.end(0)
}

func TestPathIsLeftAloneWhereItLeadsToTheServersPsql(t *testing.T) {
	bindir := startShell(t, openTempDir(t), "cat >/dev/null").env["DEVSTACK_PG_BINDIR"]
	path := strings.Join([]string{openTempDir(t), bindir, os.Getenv("PATH")}, ":")
	t.Setenv("PATH", path)
	r := startShell(t, openTempDir(t), "cat >/dev/null")
	if r.env["PATH"] != path {
		t.Errorf("PATH became %s", r.env["PATH"])
	}
	r.end(0)
}

func TestRunExitsAsItsCommandDid(t *testing.T) {
	plain := filepath.Join(openTempDir(t), "plain.txt")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		command []string
		code    int
	}{
		"success":            {[]string{"true"}, 0},
		"failure":            {[]string{"sh", "-c", "exit 7"}, 7},
		"killed":             {[]string{"sh", "-c", "kill -KILL $$"}, 128 + int(syscall.SIGKILL)},
		"ended by a signal":  {[]string{"sh", "-c", "kill -TERM $$"}, 128 + int(syscall.SIGTERM)},
		"command not found":  {[]string{"no-such-command-here"}, exitNotFound},
		"file not found":     {[]string{"/no/such/file"}, exitNotFound},
		"not an executable":  {[]string{plain}, exitCannotExecute},
		"flags of a command": {[]string{"sh", "-c", "exit $#", "sh", "--fast", "-v"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, openTempDir(t), append([]string{"run", "--"}, test.command...)...)
			r.end(test.code)
			r.expectNothingLeft()
		})
	}
}

func TestRunPassesStdinAndStdoutThroughAndAddsNothing(t *testing.T) {
	r := start(t, openTempDir(t), "run", "--", "sh", "-c", "cat; echo to stderr >&2")
	if _, err := r.stdin.Write([]byte("one\ntwo\n")); err != nil {
		t.Fatal(err)
	}
	_ = r.stdin.Close()
	for _, want := range []string{"one", "two"} {
		if got := r.readLine(); got != want {
			t.Errorf("stdout has %q, want %q", got, want)
		}
	}
	if rest, _ := r.stdout.ReadString(0); rest != "" {
		t.Errorf("stdout goes on with %q", rest)
	}
	r.expectExit(0)
	if got := r.said(); got != "to stderr\n" {
		t.Errorf("stderr is %q", got)
	}
}

func TestSettingsForOtherServersAreForgotten(t *testing.T) {
	t.Setenv("PGHOST", "db.example.com")
	t.Setenv("PGSERVICE", "production")
	t.Setenv("PGOPTIONS", "-c no_such_setting=1")
	t.Setenv("PGDATA", "/no/such/folder")
	r := startShell(t, openTempDir(t), "cat >/dev/null")
	for name := range r.env {
		if strings.HasPrefix(name, "PG") {
			t.Errorf("the command sees %s", name)
		}
	}
	r.end(0)
}

func TestATemporaryFolderThatCannotHoldAStackIsReplaced(t *testing.T) {
	odd := filepath.Join(openTempDir(t), "50%41?#")
	if err := os.Mkdir(odd, 0o755); err != nil {
		t.Fatal(err)
	}
	folders := []string{odd}
	if os.Geteuid() == 0 {
		closed := openTempDir(t)
		if err := os.Chmod(closed, 0o700); err != nil {
			t.Fatal(err)
		}
		folders = append(folders, closed)
	}
	for _, tmp := range folders {
		r := startShell(t, tmp, "cat >/dev/null")
		entries, err := os.ReadDir(tmp)
		if err != nil || len(entries) != 0 {
			t.Errorf("%s is used: %v (%v)", tmp, entries, err)
		}
		r.end(0)
	}
}

func TestTheTemporaryFolderMayHaveALongPathWithSpaces(t *testing.T) {
	tmp := filepath.Join(openTempDir(t), strings.Repeat("long ", 30))
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	r := startShell(t, tmp, "cat >/dev/null")
	queryText(t, r.env["TENANTCTL_POSTGRES_URL"], "SELECT 'alive'")
	r.end(0)
	r.expectNothingLeft()
}

func TestTwoStacksRunSideBySide(t *testing.T) {
	tmp := openTempDir(t)
	first := startShell(t, tmp, "cat >/dev/null")
	second := startShell(t, tmp, "cat >/dev/null")
	if first.postgresAddress() == second.postgresAddress() || first.mongodbAddress() == second.mongodbAddress() {
		t.Error("the two stacks share a server")
	}
	queryText(t, first.env["TENANTCTL_POSTGRES_URL"], "SELECT 'alive'")
	queryText(t, second.env["TENANTCTL_POSTGRES_URL"], "SELECT 'alive'")

	second.end(0)
	queryText(t, first.env["TENANTCTL_POSTGRES_URL"], "SELECT 'alive'")
	if !answers(first.mongodbAddress()) {
		t.Error("the end of one stack ended the MongoDB server of the other")
	}
	first.end(0)
	first.expectNothingLeft()
	second.expectNothingLeft()
}

func TestMongoDBURLReplacesTheEmbeddedServer(t *testing.T) {
	const url = "mongodb://user:secret@db.example.com:27017/?tls=true"
	for name, test := range map[string]struct {
		flags    []string
		variable string
	}{
		"flag":               {flags: []string{"--mongodb-url", url}},
		"variable":           {variable: url},
		"flag over variable": {flags: []string{"--mongodb-url", url}, variable: "mongodb://other.example.com/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(envRealMongoDB, test.variable)
			r := startShell(t, openTempDir(t), "cat >/dev/null", test.flags...)
			if got := r.env["TENANTCTL_NOSQL_URL"]; got != url {
				t.Errorf("TENANTCTL_NOSQL_URL is %q", got)
			}
			if embedded, err := filepath.Glob(filepath.Join(r.tmp, workdirPrefix+"*", "mongodb")); err != nil || len(embedded) != 0 {
				t.Errorf("the embedded server has started: %v %v", embedded, err)
			}
			delete(r.env, "TENANTCTL_NOSQL_URL")
			r.end(0)
			r.expectNothingLeft()
		})
	}
}

func TestWrongUsageExitsWith2AndStartsNothing(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"no command":           {[]string{"run"}, "run needs a command"},
		"unknown flag":         {[]string{"run", "--speed", "--", "true"}, "--speed"},
		"unknown subcommand":   {[]string{"walk"}, "walk"},
		"arguments of up":      {[]string{"up", "now"}, "now"},
		"other database's URL": {[]string{"run", "--mongodb-url", "postgres://u:secret@h/", "--", "true"}, "--mongodb-url must start with mongodb://"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, openTempDir(t), test.args...)
			r.end(exitUsage)
			if got := r.said(); !strings.Contains(got, test.says) || strings.Contains(got, "secret") {
				t.Errorf("stderr is %q, want it to name %q and no secret", got, test.says)
			}
			r.expectNothingLeft()
		})
	}
}

func TestHelpShowsAnExampleOfEachCommand(t *testing.T) {
	for _, command := range []string{"run", "up"} {
		r := start(t, openTempDir(t), command, "--help")
		help, _ := r.stdout.ReadString(0)
		if !strings.Contains(help, "Examples:\n  devstack "+command) {
			t.Errorf("%s --help has no example:\n%s", command, help)
		}
		r.end(0)
	}
}
