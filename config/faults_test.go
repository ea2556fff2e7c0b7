package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
)

// expectFaults asserts the very faults, in their order, and that the text of the error is made of them.
func expectFaults(t *testing.T, err error, want ...string) {
	t.Helper()
	var faults *Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want *Faults", err)
	}
	got := make([]string, len(faults.Faults))
	for i, fault := range faults.Faults {
		got[i] = fault.String()
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReportsEveryFaultAtOnce(t *testing.T) {
	isolate(t)
	write(t, "tenantctl.yaml", `postgres:
  ulr: postgres://localhost/app
  lock_timeout: 5
  max_connections: 1001
nosql: mongodb://u:hunter2@h
naming:
  prefix: pg_tenant_
  prefix: tenant_
`)
	t.Setenv("TENANTCTL_POSTGRES_ROLES", "some")
	t.Setenv("TENANTCTL_POSTGRES_URL_FILE", "gone")
	_, err := Load(Options{Flags: flags(t, "--parallel=0", "--max-failures=0%")})
	expectFaults(
		t, err,
		"postgres.ulr (tenantctl.yaml:2): unknown key; did you mean postgres.url?",
		`nosql (tenantctl.yaml:5): found a single value where keys were expected, such as "enabled: ..."`,
		"naming.prefix (tenantctl.yaml:8): is here twice, first on line 7; remove one",
		`postgres.url_file (TENANTCTL_POSTGRES_URL_FILE): cannot read "gone": no such file or directory; it should be a file that holds postgres.url`,
		`postgres.roles (TENANTCTL_POSTGRES_ROLES): "some" is not one of per-tenant, none`,
		`postgres.max_connections (tenantctl.yaml:4): "1001" is not a whole number from 4 to 1000`,
		`postgres.lock_timeout (tenantctl.yaml:3): "5" is not a duration from 1ms to 24d (a number and its unit, such as 500ms, 5s, 2h or 30d)`,
		`naming.prefix (tenantctl.yaml:7): "pg_tenant_" is not a prefix of at most 20 characters a-z, 0-9 and _ that begins with a letter, but not with pg_`,
		`fleet.parallel (--parallel): "0" is not a whole number from 1 to 256`,
		`fleet.max_failures (--max-failures): "0%" is not a number of tenants (at least 1) or a percentage of them (1% to 100%)`,
	)
	if !strings.HasPrefix(err.Error(), "10 faults in the configuration:\n  - postgres.ulr (tenantctl.yaml:2): unknown key;") ||
		strings.Count(err.Error(), "\n  - ") != 10 {
		t.Errorf("got %s", err)
	}
}

func TestSaysASingleFaultInOneLine(t *testing.T) {
	isolate(t)
	write(t, "tenantctl.yaml", "\n\npostgres: {ulr: x}\n")
	_, err := Load(Options{})
	if want := "postgres.ulr (tenantctl.yaml:3): unknown key; did you mean postgres.url?"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	encoded, _ := json.Marshal(err)
	if want := `{"faults":[{"key":"postgres.ulr","source":"tenantctl.yaml:3","problem":"unknown key; did you mean postgres.url?"}]}`; string(encoded) != want {
		t.Errorf("got %s, want %s", encoded, want)
	}
}

func TestRefusesUnknownKeyWithSuggestion(t *testing.T) {
	const top = "known ones are environment, protected, postgres, nosql, migrations, naming, fleet, operations, backup, delete, resolve, log, actor, contexts, current-context"
	cases := []struct{ file, want string }{
		{"postgre: {}", "postgre (c:1): unknown key; did you mean postgres?"},
		{"Postgres: {url: x}", "Postgres (c:1): unknown key; did you mean postgres?"},
		{"parallel: 4", "parallel (c:1): unknown key; did you mean fleet.parallel?"},
		{"fleet:\n  paralel: 4", "fleet.paralel (c:2): unknown key; did you mean fleet.parallel?"},
		{"nosql:\n  ulr: x", "nosql.ulr (c:2): unknown key; did you mean nosql.url?"},
		{"postgres:\n  users: none", "postgres.users (c:2): unknown key; did you mean nosql.users?"},
		{"operations:\n  colour: x", "operations.colour (c:2): unknown key; operations has lease, keep"},
		{"colour: {any: thing, at: all}", "colour (c:1): unknown key; " + top},
		{"actor: me\nfleet.parallel: 3", "fleet.parallel (c:2): keys are nested; write parallel: below fleet:"},
		{"fleet: {fleet.parallel: 3}", "fleet.fleet.parallel (c:1): unknown key; did you mean fleet.parallel?"},
		{"postgres://u:hunter2@h: x", "xxxxx (c:1): unknown key; " + top},
		{"<<: {actor: me}", "<< (c:1): unknown key; " + top},
		{"? [a]\n: b", "c:1: found a list where the name of a key was expected"},
		{strings.Repeat("a", 1000) + ": b", "xxxxx (c:1): unknown key; " + top},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) {
			isolate(t)
			write(t, "c", c.file)
			_, err := Load(Options{File: "c"})
			expectFaults(t, err, c.want)
		})
	}
}

func TestRefusesAFileOfTheWrongForm(t *testing.T) {
	cases := []struct{ file, want string }{
		{"a: b: c", "c:1: is not YAML: mapping values are not allowed in this context"},
		{"actor: me\nlog:\n  level: warn\n  x: y: z\nfleet: {}", "c:4: is not YAML: mapping values are not allowed in this context"},
		{"log:\n  level: warn\n format: text\nactor: me", "c:3: is not YAML: did not find expected key"},
		{
			"log:\n\tlevel: warn",
			"c:2: is not YAML: found character that cannot start any token; indent with spaces instead of tabs, and put values with special characters in quotes",
		},
		{"fleet: {}\nactor: 'me\nlog: {}", "c:2: is not YAML: found unexpected end of stream"},
		{"actor: *hunter2", "c:1: is not YAML: a value that begins with * must be in quotes"},
		{"actor: a\n---\nactor: b", "c:2: a second YAML document begins here; keep one"},
		{"- actor", `c:1: found a list where keys were expected, such as "environment: ..."`},
		{"postgres://u:hunter2@h", `c:1: found a single value where keys were expected, such as "environment: ..."`},
		{"postgres:\n  - url", `postgres (c:2): found a list where keys were expected, such as "url: ..."`},
		{"fleet:\n  parallel: [1, 2]", "fleet.parallel (c:2): found a list where a single value was expected"},
		{"fleet:\n  parallel:\n    most: 2", "fleet.parallel (c:2): found a mapping where a single value was expected"},
		{"actor: &a [*a]", "actor (c:1): found a list where a single value was expected"},
		{"log: {level: info}\nlog: {format: text}", "log (c:2): is here twice, first on line 1; remove one"},
		{"# " + strings.Repeat("x", 64<<10), `--config: cannot read "c": it is larger than 64 KiB; correct the path or leave it out`},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) {
			isolate(t)
			write(t, "c", c.file)
			_, err := Load(Options{File: "c"})
			expectFaults(t, err, c.want)
		})
	}
}

func TestTakesEmptySectionsAndValuesAsNotSet(t *testing.T) {
	for _, file := range []string{
		"", "# nothing", "---", "postgres:\nnosql:\n", "postgres:\n  url:\n  roles: ~\nactor:\n", "fleet: {}",
	} {
		isolate(t)
		write(t, "tenantctl.yaml", file)
		for _, s := range load(t, Options{}).Settings() {
			if s.Source != "default" {
				t.Errorf("%q sets %+v", file, s)
			}
		}
	}
}

func TestTakesAliasesOfValuesAndSections(t *testing.T) {
	isolate(t)
	write(t, "tenantctl.yaml", "postgres: {connect_timeout: &wait 7s}\nnosql: {timeout: *wait}\n")
	if got := setting(t, load(t, Options{}), "nosql.timeout"); got.Value != "7s" || got.Source != "file tenantctl.yaml:2" {
		t.Errorf("got %+v", got)
	}
}

func TestRefusesValuesOutOfTheirRule(t *testing.T) {
	cases := map[string]struct{ good, bad []string }{
		"environment":                     {[]string{"production", "eu-1.prod", "7"}, []string{"pro duction", "-x", strings.Repeat("x", 64)}},
		"protected":                       {[]string{"false", "False"}, []string{"yes", "1"}},
		"postgres.roles":                  {[]string{"per-tenant", "none"}, []string{"None", "all"}},
		"postgres.max_connections":        {[]string{"4", "1000"}, []string{"3", "1001", "-1", "1.5", "ten", "1e2", "99999999999999999999"}},
		"postgres.schemas_per_connection": {[]string{"1", "100000"}, []string{"0", "300s"}},
		"postgres.lock_timeout":           {[]string{"1ms", "24d", "1h30m"}, []string{"0", "5", "999us", "25d", "-5s", "5 s", "soon", "5s5"}},
		"postgres.lock_retries":           {[]string{"0", "100"}, []string{"-1", "101"}},
		"postgres.statement_timeout":      {[]string{"0", "0s", "1ms", "24d"}, []string{"5", "1us", "25d", "-1s"}},
		"postgres.connect_timeout":        {[]string{"1ms", "1h"}, []string{"0", "10"}},
		"postgres.allow_superuser":        {[]string{"true", "False"}, []string{"yes", "1", "on"}},
		"nosql.enabled":                   {[]string{"true", "False"}, []string{"yes", "1", "on"}},
		"nosql.users":                     {[]string{"auto", "require", "none"}, []string{"per-tenant"}},
		"nosql.timeout":                   {[]string{"10s"}, []string{"0", "10"}},
		"nosql.version":                   {[]string{"7", "7.0", "8.0.4"}, []string{"latest", "v7", "7."}},
		"migrations.postgres":             {[]string{"a folder/of mine"}, nil},
		"migrations.engine":               {[]string{"goose", "exec"}, []string{"flyway", "Exec"}},
		"migrations.command":              {[]string{"./migrate.sh --all"}, nil},
		"migrations.version_query":        {[]string{"SELECT count(*) FROM history"}, nil},
		"migrations.timeout":              {[]string{"0", "200ms", "1h"}, []string{"-1s", "10", "soon"}},
		"naming.prefix":                   {[]string{"a", "tenant_", "a2345678901234567890"}, []string{"_a", "1a", "A", "a-b", "ä", "pg_x", "a23456789012345678901"}},
		"fleet.parallel":                  {[]string{"1", "256"}, []string{"0", "257"}},
		"fleet.max_replication_lag":       {[]string{"0", "64MB", "1 GiB", "123"}, []string{"-1", "much", "99999999999 TB"}},
		"fleet.max_active":                {[]string{"0", "50"}, []string{"-1", "5%"}},
		"fleet.max_failures":              {[]string{"1", "10000", "1%", "100%"}, []string{"0", "-1", "0%", "101%", "5 %", "%", "1.5%"}},
		"operations.lease":                {[]string{"3s", "30d", "1d12h30m"}, []string{"2999ms", "30", "d", "1d1d", "1d-1h", "-1d", "999999999d", "1.5d"}},
		"operations.keep":                 {[]string{"1h", "720h", "36500d"}, []string{"0", "59m", "36501d", "36500d2000000h"}},
		"postgres.bin":                    {[]string{"", "/usr/lib/postgresql/15/bin"}, nil},
		"postgres.extensions_schema":      {[]string{"", "extensions", "ext_1"}, []string{"public", "pg_ext", "tenantctl", "Ext", "a-b", "1a", "a.b", "a,b"}},
		"postgres.large_object_columns":   {[]string{"", "files.content", "files.content, Mails.body"}, []string{"files", "a.b.c", "a.b,", "a b.c"}},
		"backup.url":                      {[]string{"", "backups", "/srv/a b", "file:///srv", "s3://b?region=x", "gs://b", "azblob://c"}, nil},
		"backup.signing":                  {[]string{"auto", "require", "none"}, []string{"yes", "Require"}},
		"backup.encryption":               {[]string{"none", "recipients", "tenant-key"}, []string{"age", "None"}},
		"backup.recipients":               {[]string{"", "age1a,age1b"}, nil},
		"backup.identity_file":            {[]string{"", "a file"}, nil},
		"backup.keys":                     {[]string{"", "keys", "s3://b"}, nil},
		"backup.max_age":                  {[]string{"0s", "26h", "7d"}, []string{"7", "-1d", "soon"}},
		"delete.purge_after":              {[]string{"0s", "1h", "7d"}, []string{"7", "-1d"}},
		"resolve.listen":                  {[]string{"", "0.0.0.0:80", "[::1]:8470"}, []string{"8470", ":8470", "localhost:80", "1.2.3.4:70000"}},
		"resolve.socket":                  {[]string{"", "run/s"}, nil},
		"resolve.base_domain":             {[]string{"", "app.example.com", "localhost"}, []string{"App.example.com", ".example.com", "a:80", "*.a", "a_b.c", "ä.b"}},
		"resolve.header":                  {[]string{"", "X-Tenant", "x-tenant"}, []string{"Host", "Authorization", "X-Forwarded-Host", "X-Tenant-Id", "a b", "a:"}},
		"resolve.path_prefix":             {[]string{"", "/", "/t/", "/a/b/"}, []string{"t/", "/t", "/../", "/a%2f/", "/a?/"}},
		"resolve.jwt_claim":               {[]string{"", "tenant", "https://example.com/tenant"}, nil},
		"resolve.jwt_key_file":            {[]string{"", "key.pem"}, nil},
		"resolve.trusted_proxies":         {[]string{"", "10.0.0.0/8", "10.0.0.1, ::1/128"}, []string{"10.0.0.0/33", "localhost", "10.0.0"}},
		"resolve.max_stale":               {[]string{"1s", "1h"}, []string{"0", "999ms"}},
		"resolve.poll":                    {[]string{"10ms"}, []string{"0", "9ms"}},
		"resolve.reload":                  {[]string{"1s"}, []string{"0", "999ms"}},
		"resolve.wait":                    {[]string{"1ms", "45s"}, []string{"0", "45"}},
		"log.level":                       {[]string{"debug", "info", "warn", "error"}, []string{"WARN", "warn+1", "trace"}},
		"log.format":                      {[]string{"text", "json"}, []string{"xml"}},
		"actor":                           {[]string{"anyone at all"}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			key := keyNamed(t, name)
			for _, value := range c.good {
				t.Setenv(key.Env(), value)
				if _, err := Load(Options{}); err != nil {
					t.Errorf("%q: %v", value, err)
				}
			}
			for _, value := range c.bad {
				t.Setenv(key.Env(), value)
				_, err := Load(Options{})
				if err == nil {
					t.Errorf("%q was taken", value)
					continue
				}
				expectFaults(t, err, name+" ("+key.Env()+`): "`+value+`" is not `+key.Expects())
			}
		})
	}
	for _, key := range Keys() {
		if _, tested := cases[key.Name]; !tested && !key.Secret && key.holds == "" && key.Name != "migrations.mongodb" {
			t.Errorf("%s is in no case", key.Name)
		}
	}
}

func TestRefusesAnEmptyFolder(t *testing.T) {
	isolate(t)
	write(t, "tenantctl.yaml", "migrations: {mongodb: ''}")
	_, err := Load(Options{})
	expectFaults(t, err, `migrations.mongodb (tenantctl.yaml:1): "" is not the path of a folder`)
}

func TestRefusesSecretFilesThatHoldNoSecret(t *testing.T) {
	cases := []struct{ name, file, want string }{
		{"both", "{url: 'postgres://h/', url_file: good}", "postgres.url_file (tenantctl.yaml:1): postgres.url is set as well (tenantctl.yaml:1); keep one of the two"},
		{"empty", "{url_file: empty}", `postgres.url_file (tenantctl.yaml:1): cannot read "empty": it is empty; it should be a file that holds postgres.url`},
		{"folder", "{url_file: .}", `postgres.url_file (tenantctl.yaml:1): cannot read ".": is a directory; it should be a file that holds postgres.url`},
		{"large", "{url_file: large}", `postgres.url_file (tenantctl.yaml:1): cannot read "large": it is larger than 64 KiB; it should be a file that holds postgres.url`},
		{"wrong content", "{url_file: wrong}", "postgres.url (wrong): must begin with postgres://, or be pairs such as host=db.example.com user=tenantctl dbname=app"},
		{"the URL itself", "{url_file: 'postgres://u:hunter2@h/db'}", `postgres.url_file (tenantctl.yaml:1): cannot read xxxxx: no such file or directory; it should be a file that holds postgres.url`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			isolate(t)
			write(t, "good", "postgres://u:hunter2@h/db")
			write(t, "empty", " \n")
			write(t, "large", strings.Repeat("x", 64<<10+1))
			write(t, "wrong", "mysql://u:hunter2@h/db")
			write(t, "tenantctl.yaml", "postgres: "+c.file)
			_, err := Load(Options{})
			expectFaults(t, err, c.want)
		})
	}
}

func TestShowsNoMisplacedSecret(t *testing.T) {
	for _, text := range []string{"postgres://u:hunter2@h/db", "host=h password=hunter2", "mongodb://hunter2.example.com"} {
		isolate(t)
		t.Setenv("TENANTCTL_CONFIG", text)
		for _, key := range Keys() {
			if !key.Secret {
				t.Setenv(key.Env(), text)
			}
		}
		_, err := Load(Options{})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzReadsAnyFileAndPlacesItsFaultsInIt(f *testing.F) {
	for _, seed := range []string{
		"", "a: b: c", "log:\n\tx: y", "postgres: &a\n  url: *a", "- x\n---\n...", "\"a\nb", "? [a]\n: b", "fleet: {parallel: 1,\n", "\xff\xfea\x00", "!!map [a]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		read := newFile()
		read.path = "c"
		read.parse(content)
		for _, fault := range read.faults {
			place, found := strings.CutPrefix(fault.Source, "c:")
			line, err := strconv.Atoi(place)
			if last := bytes.Count(content, []byte("\n")) + bytes.Count(content, []byte("\r")) + 2; !found || err != nil || line < 1 || line > last {
				t.Errorf("%q: %s", content, fault)
			}
			if fault.Problem == "" {
				t.Errorf("%q: a fault without a problem", content)
			}
		}
	})
}

func TestRefusesAPlaceForBackupsOfAnotherScheme(t *testing.T) {
	for _, key := range []string{"backup.url", "backup.keys"} {
		isolate(t)
		write(t, "c", strings.Replace(key, ".", ":\n  ", 1)+": http://u:hunter2@b\n")
		_, err := Load(Options{File: "c"})
		expectFaults(t, err, key+" (c:2): xxxxx is not "+keyNamed(t, key).Expects())
	}
}

func TestRefusesSigningKeysThatAreNoneWithoutShowingThem(t *testing.T) {
	isolate(t)
	t.Setenv("TENANTCTL_BACKUP_SIGNING_KEY", signingKey+",hunter2")
	_, err := Load(Options{})
	expectFaults(t, err, "backup.signing_key (TENANTCTL_BACKUP_SIGNING_KEY): key 2 is not at least 32 bytes in base64; openssl rand -base64 32 makes one")
}

func TestShowsNoSigningKey(t *testing.T) {
	isolate(t)
	t.Setenv("TENANTCTL_BACKUP_SIGNING_KEY", signingKey+","+signingKey)
	if s := setting(t, load(t, Options{}), "backup.signing_key"); !s.Secret || strings.Contains(s.Value.(string), signingKey[:8]) {
		t.Errorf("shown is %+v", s)
	}
}
