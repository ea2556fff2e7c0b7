package cmd_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// pageTime is how long the blocks of one page may take before the test is given up.
const pageTime = 5 * time.Minute

// Somebody who has two servers and reads nothing else gets to the end of the tutorial: its SQL, files and commands run
// in an empty folder, with the addresses of servers exchanged and nothing else.
func TestGettingStartedRunsAsWritten(t *testing.T) {
	t.Parallel()
	postgres := tenanttest.PostgresServer(t).URL()
	proxy := mongoproxy.Start(t, tenanttest.StartMongoDB(t).URL()) // nobody else has a tenant acme there
	proxy.CheckLogins()
	client, err := mongo.Connect(options.Client().ApplyURI(proxy.URL()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	err = client.Database("admin").RunCommand(t.Context(), bson.D{
		{Key: "createUser", Value: "tenantctl"},
		{Key: "pwd", Value: "change-me"},
		{Key: "roles", Value: bson.A{"readWriteAnyDatabase", "dbAdminAnyDatabase", "userAdminAnyDatabase", "hostManager"}},
	}).Err()
	if err != nil {
		t.Fatal(err)
	}
	script := readPage(t, "getting-started.md")
	script = strings.ReplaceAll(script, "localhost:5432", hostOf(t, postgres))
	script = strings.ReplaceAll(script, "localhost:27017", hostOf(t, proxy.URL()))
	runPage(t, "getting-started.md", script, "SUPERUSER="+postgres)
}

// Every other page of docs/, with servers that the environment names, in a folder and a database of its own.
func TestTheBlocksOfThePagesRunAsWritten(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) < 20 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	for _, path := range pages {
		page := filepath.Base(path)
		if page == "getting-started.md" {
			continue
		}
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			script := readPage(t, page)
			if strings.TrimSpace(script) == "" {
				return
			}
			w := newWorld(t)
			w.users = mongoproxy.Start(t, w.mongodb)
			w.users.CheckLogins()
			w.mongodb = w.users.URL()
			script = strings.ReplaceAll(script, "127.0.0.1:8470", freeAddress(t)) // the resolver's
			runPage(t, page, script, append(w.env(), "SUPERUSER="+w.as(t, tenanttest.SuperuserURL(t)))...)
		})
	}
}

// freeAddress is one at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal("the server's URL cannot be read")
	}
	return u.Host
}

// runPage runs what readPage made of a page in an empty folder.
func runPage(t *testing.T, page, script string, env ...string) {
	t.Helper()
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	path, dir := filepath.Join(t.TempDir(), page), t.TempDir()
	begin := `. "$CHECKOUT/cmd/testdata/docs.sh"; `
	if err := os.WriteFile(path, []byte(begin+script), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), pageTime)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", "-euo", "pipefail", path)
	c.Dir, c.WaitDelay = dir, time.Second
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TENANTCTL_") {
			c.Env = append(c.Env, v)
		}
	}
	c.Env = append(c.Env, "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_STATE_HOME="+dir, "CHECKOUT="+checkout,
		"PATH="+filepath.Dir(faulty(t))+":"+os.Getenv("PATH"))
	c.Env = append(c.Env, env...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("docs/%s: %v (lines are those of the page)\n%s", page, err, out)
	}
	t.Logf("%s", out)
}

var (
	fence     = regexp.MustCompile("^( *)```(.*)$")
	directive = regexp.MustCompile(`^ *<!-- (test|file|sql|exits|not run): ?(.*?)( -->)?$`)
	// command is what people type, where an output could stand too.
	command = regexp.MustCompile(`^(\$|(time )?(tenantctl|sudo|export|make|psql|curl|docker|brew|openssl|redis-cli|` +
		`bin/devstack|go install)) `)
)

// page is a page on its way to a shell script that has each line where the page has it.
type page struct {
	t     *testing.T
	name  string
	lines []string
	out   []string
}

// readPage gives a page's blocks as a script. CONTRIBUTING.md tells how they are written.
func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{t: t, name: name, lines: strings.Split(string(text), "\n")}
	p.out = make([]string, len(p.lines))
	kind, value := "", ""
	for i := 0; i < len(p.lines); i++ {
		if m := directive.FindStringSubmatch(p.lines[i]); m != nil {
			if m[1] == "test" {
				i = p.hidden(i, m[2], m[3] != "")
				continue
			}
			if kind, value = m[1], m[2]; m[3] == "" || value == "" || fence.FindString(p.lines[i+1]) == "" {
				p.fault(i, "a comment %q ends on its line, says what or why, and stands on the line before a block", kind)
			}
			continue
		}
		if strings.HasPrefix(strings.TrimSpace(p.lines[i]), "<!--") {
			p.fault(i, "a comment that is for no test: is it misspelled?")
		}
		if m := fence.FindStringSubmatch(p.lines[i]); m != nil {
			i = p.block(i, m[1], m[2], kind, value)
			kind, value = "", ""
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return strings.Join(p.out, "\n")
}

func (p *page) fault(line int, format string, args ...any) {
	p.t.Helper()
	p.t.Errorf("docs/%s:%d: %s", p.name, line+1, fmt.Sprintf(format, args...))
}

// hidden takes over the commands of a comment, and gives its last line.
func (p *page) hidden(first int, text string, whole bool) (last int) {
	p.out[first] = text
	for i := first + 1; !whole; i++ {
		if i == len(p.lines) {
			p.fault(first, "the comment does not end")
			return i
		}
		if whole = strings.TrimSpace(p.lines[i]) == "-->"; whole {
			return i
		}
		p.out[i] = p.lines[i]
	}
	return first
}

// block takes over a block as what the comment before it says, and gives its last line.
func (p *page) block(first int, indent, language, kind, value string) (last int) {
	language, _, _ = strings.Cut(language, " ")
	for last = first + 1; last < len(p.lines) && strings.TrimSpace(p.lines[last]) != "```"; last++ {
		if language == "" && kind == "" && command.MatchString(strings.TrimSpace(p.lines[last])) {
			p.fault(last, "a command in a block without a language: nobody would run it")
		}
	}
	if last == len(p.lines) {
		p.fault(first, "the block does not end")
		return last
	}
	begin, end := "", ""
	switch {
	case kind == "not run":
		return last
	case kind == "file":
		begin, end = fmt.Sprintf("mkdir -p '%s'; cat > '%s' <<'END OF FILE'", filepath.Dir(value), value), "END OF FILE"
	case kind == "sql" && language == "sql":
		begin, end = `psql -qX -v ON_ERROR_STOP=1 "$SUPERUSER" <<'END OF SQL'`, "END OF SQL"
	case kind == "exits" && language == "sh":
		body := strings.Join(p.lines[first+1:last], "\n")
		if strings.Contains(strings.ReplaceAll(body, "\\\n", ""), "\n") {
			p.fault(first, "a block that exits with %s is more than one command", value)
		}
		begin = "{"
		end = fmt.Sprintf(`} && code=0 || code=$?; [ $code = %s ] || { echo "exit $code, not %[1]s" >&2; false; }`, value)
	case kind == "" && language == "sh":
	case kind != "":
		p.fault(first, "a block of %q cannot be %q", language, kind)
		return last
	case language == "sql" || language == "js":
		p.fault(first, "a block of %s says before it that it is a file, is run, or why it is not", language)
		return last
	default:
		return last
	}
	p.out[first], p.out[last] = begin, end
	for i := first + 1; i < last; i++ {
		p.out[i] = strings.TrimPrefix(p.lines[i], indent)
	}
	return last
}
