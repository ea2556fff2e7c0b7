package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// isolate gives the test an empty working directory and home, and an environment without settings.
func isolate(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("XDG_STATE_HOME", "")
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "TENANTCTL_") || strings.HasPrefix(name, "PG") {
			t.Setenv(name, "") // so that it comes back after the test
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, options Options) *Config {
	t.Helper()
	config, err := Load(options)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func setting(t *testing.T, config *Config, key string) Setting {
	t.Helper()
	for _, s := range config.Settings() {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("no setting %s", key)
	return Setting{}
}

func flags(t *testing.T, arguments ...string) *pflag.FlagSet {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	set.Int("parallel", 99, "")
	for _, name := range []string{"max-failures", "allow-superuser", "identity", "stale", "listen", "socket", "log-level", "log-format", "actor"} {
		set.String(name, "a default of the flag itself", "")
	}
	if err := set.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	return set
}

func TestEveryKeyTakesFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	const dsn, mongo = "postgres://u:pw@h/", "mongodb://u:pw@h/"
	cases := []struct {
		key                        string
		field                      func(*Config) any
		whenDefault, whenFile      any
		file, env, flag            string
		whenEnvironment, whenFlags any
	}{
		{"environment", func(c *Config) any { return c.Environment }, "", "staging", "staging", "test", "", "test", nil},
		{"protected", func(c *Config) any { return c.Protected }, false, false, "false", "FALSE", "", false, nil},
		{"postgres.url", func(c *Config) any { return c.Postgres.URL }, Secret(""), Secret(dsn + "f"), dsn + "f", dsn + "e", "", Secret(dsn + "e"), nil},
		{"postgres.roles", func(c *Config) any { return c.Postgres.Roles }, "per-tenant", "none", "none", "per-tenant", "", "per-tenant", nil},
		{"postgres.max_connections", func(c *Config) any { return c.Postgres.MaxConnections }, 10, 11, "11", "12", "", 12, nil},
		{"postgres.schemas_per_connection", func(c *Config) any { return c.Postgres.SchemasPerConnection }, 300, 1, "1", "2", "", 2, nil},
		{"postgres.lock_timeout", func(c *Config) any { return c.Postgres.LockTimeout }, 2 * time.Second, time.Minute, "1m", "1d", "", 24 * time.Hour, nil},
		{"postgres.lock_retries", func(c *Config) any { return c.Postgres.LockRetries }, 5, 0, "0", "7", "", 7, nil},
		{"postgres.statement_timeout", func(c *Config) any { return c.Postgres.StatementTimeout }, time.Duration(0), time.Second, "1s", "0s", "", time.Duration(0), nil},
		{"postgres.connect_timeout", func(c *Config) any { return c.Postgres.ConnectTimeout }, 10 * time.Second, time.Second, "1s", "2s", "", 2 * time.Second, nil},
		{"postgres.allow_superuser", func(c *Config) any { return c.Postgres.AllowSuperuser }, false, true, "true", "false", "true", false, true},
		{"nosql.enabled", func(c *Config) any { return c.NoSQL.Enabled }, true, false, "false", "true", "", true, nil},
		{"nosql.url", func(c *Config) any { return c.NoSQL.URL }, Secret(""), Secret(mongo + "f"), mongo + "f", mongo + "e", "", Secret(mongo + "e"), nil},
		{"nosql.users", func(c *Config) any { return c.NoSQL.Users }, "auto", "none", "none", "require", "", "require", nil},
		{"nosql.timeout", func(c *Config) any { return c.NoSQL.Timeout }, 10 * time.Second, time.Second, "1s", "2s", "", 2 * time.Second, nil},
		{"nosql.version", func(c *Config) any { return c.NoSQL.Version }, "", "7.0.14", "7.0.14", "8", "", "8", nil},
		{"migrations.postgres", func(c *Config) any { return c.Migrations.Postgres }, "migrations/postgres", "/f", "/f", "/e", "", "/e", nil},
		{"migrations.mongodb", func(c *Config) any { return c.Migrations.MongoDB }, "migrations/mongodb", "/f", "/f", "/e", "", "/e", nil},
		{"migrations.engine", func(c *Config) any { return c.Migrations.Engine }, "goose", "exec", "exec", "goose", "", "goose", nil},
		{"migrations.command", func(c *Config) any { return c.Migrations.Command }, "", "make it", "make it", "e", "", "e", nil},
		{"migrations.version_query", func(c *Config) any { return c.Migrations.VersionQuery }, "", "SELECT 1", "SELECT 1", "SELECT 2", "", "SELECT 2", nil},
		{"migrations.timeout", func(c *Config) any { return c.Migrations.Timeout }, 10 * time.Minute, time.Second, "1s", "0", "", time.Duration(0), nil},
		{"naming.prefix", func(c *Config) any { return c.Naming.Prefix }, "tenant_", "f_", "f_", "e_", "", "e_", nil},
		{"fleet.parallel", func(c *Config) any { return c.Fleet.Parallel }, 8, 1, "1", "2", "3", 2, 3},
		{"fleet.max_replication_lag", func(c *Config) any { return c.Fleet.MaxReplicationLag }, int64(0), int64(1000), "1kB", "64MiB", "", int64(64 << 20), nil},
		{"fleet.max_active", func(c *Config) any { return c.Fleet.MaxActive }, 0, 1, "1", "50", "", 50, nil},
		{"fleet.max_failures", func(c *Config) any { return c.Fleet.MaxFailures }, "1", "2", "2", "5%", "100%", "5%", "100%"},
		{"operations.lease", func(c *Config) any { return c.Operations.Lease }, 30 * time.Second, 3 * time.Second, "3s", "1m", "", time.Minute, nil},
		{"operations.keep", func(c *Config) any { return c.Operations.Keep }, 720 * time.Hour, 48 * time.Hour, "2d", "1d12h", "", 36 * time.Hour, nil},
		{"postgres.bin", func(c *Config) any { return c.Postgres.Bin }, "", "/f", "/f", "/e", "", "/e", nil},
		{"postgres.extensions_schema", func(c *Config) any { return c.Postgres.ExtensionsSchema }, "", "f", "f", "e", "", "e", nil},
		{"postgres.large_object_columns", func(c *Config) any { return c.Postgres.LargeObjectColumns }, "", "f.a", "f.a", "e.a, e.b", "", "e.a, e.b", nil},
		{"backup.url", func(c *Config) any { return c.Backup.URL }, "", "s3://f", "s3://f", "e", "", "e", nil},
		{"backup.encryption", func(c *Config) any { return c.Backup.Encryption }, "none", "recipients", "recipients", "tenant-key", "", "tenant-key", nil},
		{"backup.recipients", func(c *Config) any { return c.Backup.Recipients }, "", "age1f", "age1f", "age1e", "", "age1e", nil},
		{"backup.identity_file", func(c *Config) any { return c.Backup.IdentityFile }, "", "/f", "/f", "/e", "/g", "/e", "/g"},
		{"backup.keys", func(c *Config) any { return c.Backup.Keys }, "", "/f", "/f", "/e", "", "/e", nil},
		{"backup.max_age", func(c *Config) any { return c.Backup.MaxAge }, time.Duration(0), 26 * time.Hour, "26h", "1h", "7d", time.Hour, 168 * time.Hour},
		{"backup.signing", func(c *Config) any { return c.Backup.Signing }, "auto", "require", "require", "none", "", "none", nil},
		{"backup.signing_key", func(c *Config) any { return c.Backup.SigningKey.Reveal() }, "", signingKey, signingKey, signingKey + "," + signingKey, "", signingKey + "," + signingKey, nil},
		{"delete.purge_after", func(c *Config) any { return c.Delete.PurgeAfter }, 168 * time.Hour, 48 * time.Hour, "2d", "1h", "", time.Hour, nil},
		{"resolve.listen", func(c *Config) any { return c.Resolve.Listen }, "127.0.0.1:8470", "0.0.0.0:1", "0.0.0.0:1", "0.0.0.0:2", "0.0.0.0:3", "0.0.0.0:2", "0.0.0.0:3"},
		{"resolve.socket", func(c *Config) any { return c.Resolve.Socket }, "", "/f", "/f", "/e", "/g", "/e", "/g"},
		{"resolve.base_domain", func(c *Config) any { return c.Resolve.BaseDomain }, "", "f", "f", "e", "", "e", nil},
		{"resolve.header", func(c *Config) any { return c.Resolve.Header }, "", "X-F", "x-f", "X-E", "", "X-E", nil},
		{"resolve.path_prefix", func(c *Config) any { return c.Resolve.PathPrefix }, "", "/f/", "/f/", "/e/", "", "/e/", nil},
		{"resolve.jwt_claim", func(c *Config) any { return c.Resolve.JWTClaim }, "", "f", "f", "e", "", "e", nil},
		{"resolve.jwt_key_file", func(c *Config) any { return c.Resolve.JWTKeyFile }, "", "/f", "/f", "/e", "", "/e", nil},
		{"resolve.trusted_proxies", func(c *Config) any { return c.Resolve.TrustedProxies }, "127.0.0.0/8,::1/128", "::1", "'::1'", "10.0.0.0/8", "", "10.0.0.0/8", nil},
		{"resolve.assertion_key", func(c *Config) any { return c.Resolve.AssertionKey.Reveal() }, "", signingKey, signingKey, signingKey + "," + signingKey, "", signingKey + "," + signingKey, nil},
		{"resolve.max_stale", func(c *Config) any { return c.Resolve.MaxStale }, 30 * time.Second, time.Second, "1s", "1m", "", time.Minute, nil},
		{"resolve.poll", func(c *Config) any { return c.Resolve.Poll }, time.Second, 10 * time.Millisecond, "10ms", "1m", "", time.Minute, nil},
		{"resolve.reload", func(c *Config) any { return c.Resolve.Reload }, 5 * time.Minute, time.Second, "1s", "1m", "", time.Minute, nil},
		{"resolve.redis_url", func(c *Config) any { return c.Resolve.RedisURL }, Secret(""), Secret("redis://f"), "redis://f", "redis://e/1", "", Secret("redis://e/1"), nil},
		{"resolve.wait", func(c *Config) any { return c.Resolve.Wait }, 45 * time.Second, time.Second, "1s", "1m", "", time.Minute, nil},
		{"log.level", func(c *Config) any { return c.Log.Level }, slog.LevelWarn, slog.LevelDebug, "debug", "info", "error", slog.LevelInfo, slog.LevelError},
		{"log.format", func(c *Config) any { return c.Log.Format }, "text", "json", "json", "text", "json", "text", "json"},
		{"actor", func(c *Config) any { return c.Actor }, "", "007", "007", "e", "", "e", ""},
	}
	tested := map[string]bool{"postgres.url_file": true, "postgres.direct_url": true, "postgres.direct_url_file": true, "nosql.url_file": true, "backup.signing_key_file": true, "resolve.assertion_key_file": true, "resolve.redis_url_file": true} // TestTakesTheSecretFromTheSourceOfHighestPrecedence
	for _, c := range cases {
		tested[c.key] = true
		t.Run(c.key, func(t *testing.T) {
			isolate(t)
			key := keyNamed(t, c.key)
			expect := func(want any, source string, options Options) {
				t.Helper()
				config := load(t, options)
				if got := c.field(config); got != want {
					t.Errorf("got %v, want %v (%s)", got, want, source)
				}
				if got := setting(t, config, c.key).Source; got != source {
					t.Errorf("source is %q, want %q", got, source)
				}
			}
			expect(c.whenDefault, "default", Options{Flags: flags(t)})

			line := "1"
			if section, name, nested := strings.Cut(c.key, "."); nested {
				line = "2"
				write(t, "tenantctl.yaml", section+":\n  "+name+": "+c.file+"\n")
			} else {
				write(t, "tenantctl.yaml", c.key+": "+c.file+"\n")
			}
			expect(c.whenFile, "file tenantctl.yaml:"+line, Options{Flags: flags(t)})

			t.Setenv(key.Env(), "")
			expect(c.whenFile, "file tenantctl.yaml:"+line, Options{Flags: flags(t)})
			t.Setenv(key.Env(), c.env)
			expect(c.whenEnvironment, "env "+key.Env(), Options{})
			expect(c.whenEnvironment, "env "+key.Env(), Options{Flags: flags(t)})

			if key.Flag != "" {
				expect(c.whenFlags, "flag --"+key.Flag, Options{Flags: flags(t, "--"+key.Flag+"="+c.flag)})
			}
		})
	}
	for _, key := range Keys() {
		if !tested[key.Name] {
			t.Errorf("%s is in no case", key.Name)
		}
	}
}

func keyNamed(t *testing.T, name string) Key {
	t.Helper()
	for _, key := range Keys() {
		if key.Name == name {
			return key
		}
	}
	t.Fatalf("no key %s", name)
	return Key{}
}

func TestFindsTheFileWhereItIsNamedFirst(t *testing.T) {
	isolate(t)
	home, xdg := os.Getenv("HOME"), t.TempDir()
	expect := func(actor, source, asked string) {
		t.Helper()
		config := load(t, Options{File: asked})
		if got := setting(t, config, "actor"); got.Value != actor || got.Source != source {
			t.Errorf("got %v from %q, want %s from %q", got.Value, got.Source, actor, source)
		}
	}
	expect("", "default", "")

	write(t, home+"/.config/tenantctl/config.yaml", "actor: home\n")
	expect("home", "file "+home+"/.config/tenantctl/config.yaml:1", "")
	t.Setenv("XDG_CONFIG_HOME", "relative")
	expect("home", "file "+home+"/.config/tenantctl/config.yaml:1", "")
	t.Setenv("XDG_CONFIG_HOME", xdg)
	expect("", "default", "")
	write(t, xdg+"/tenantctl/config.yaml", "actor: xdg\n")
	expect("xdg", "file "+xdg+"/tenantctl/config.yaml:1", "")

	write(t, "tenantctl.yaml", "actor: here\n")
	expect("here", "file tenantctl.yaml:1", "")

	write(t, "env.yaml", "\nactor: env\n")
	t.Setenv("TENANTCTL_CONFIG", "env.yaml")
	expect("env", "file env.yaml:2", "")

	write(t, "deploy/flag.yaml", "actor: flag\n")
	expect("flag", "file deploy/flag.yaml:1", "deploy/flag.yaml")
}

func TestRefusesAFileThatWasAskedForAndIsNotThere(t *testing.T) {
	isolate(t)
	write(t, "tenantctl.yaml", "actor: here\n")
	_, err := Load(Options{File: "gone.yaml"})
	expectFaults(t, err, `--config: cannot read "gone.yaml": no such file or directory; correct the path or leave it out`)
	_, err = Load(Options{File: "."})
	expectFaults(t, err, `--config: cannot read ".": is a directory; correct the path or leave it out`)

	t.Setenv("TENANTCTL_CONFIG", "gone.yaml")
	_, err = Load(Options{})
	expectFaults(t, err, `TENANTCTL_CONFIG: cannot read "gone.yaml": no such file or directory; correct the path or leave it out`)

	t.Setenv("TENANTCTL_CONFIG", "")
	if err := errors.Join(os.Remove("tenantctl.yaml"), os.Mkdir("tenantctl.yaml", 0o755)); err != nil {
		t.Fatal(err)
	}
	_, err = Load(Options{})
	expectFaults(t, err, "tenantctl.yaml: cannot be read: is a directory")
}

func TestTakesRelativePathsOfTheFileFromItsFolder(t *testing.T) {
	isolate(t)
	write(t, "deploy/secret", "postgres://u:pw@h/db\n")
	write(t, "deploy/c.yaml", "postgres: {url_file: secret}\nmigrations: {postgres: ../sql, mongodb: /abs}\n")
	config := load(t, Options{File: "deploy/c.yaml"})
	if got := config.Migrations; got.Postgres != "sql" || got.MongoDB != "/abs" {
		t.Errorf("got %+v", got)
	}
	if config.Postgres.URLFile != "deploy/secret" || config.Postgres.URL.Reveal() != "postgres://u:pw@h/db" {
		t.Errorf("got %+v", config.Postgres)
	}

	t.Setenv("TENANTCTL_MIGRATIONS_POSTGRES", "sql")
	t.Setenv("TENANTCTL_POSTGRES_URL_FILE", "deploy/secret")
	config = load(t, Options{File: "deploy/c.yaml"})
	if config.Migrations.Postgres != "sql" || config.Postgres.URLFile != "deploy/secret" {
		t.Errorf("from the environment: got %+v, %+v", config.Migrations, config.Postgres)
	}
}

func TestTakesTheSecretFromTheSourceOfHighestPrecedence(t *testing.T) {
	for _, store := range []struct{ section, key, scheme string }{{"postgres", "url", "postgres"}, {"postgres", "direct_url", "postgres"}, {"nosql", "url", "mongodb"}} {
		inFile, inEnv, direct := store.scheme+"://u:f@h/", store.scheme+"://u:e@h/", store.scheme+"://u:d@h/"
		env := "TENANTCTL_" + strings.ToUpper(store.section+"_"+store.key)
		cases := []struct {
			name, file        string
			env               map[string]string
			want, path        string
			urlFrom, fileFrom string
		}{
			{
				name: "file only", file: "url_file: a", want: inFile, path: "a",
				urlFrom: "file a", fileFrom: "file tenantctl.yaml:2",
			},
			{
				name: "environment's url over file's url_file", file: "url_file: gone", env: map[string]string{env: direct}, want: direct,
				urlFrom: "env " + env, fileFrom: "file tenantctl.yaml:2, overridden by env " + env,
			},
			{
				name: "environment's url_file over file's url", file: "url: not checked", env: map[string]string{env + "_FILE": "b"},
				want: inEnv, path: "b", urlFrom: "file b", fileFrom: "env " + env + "_FILE",
			},
			{
				name: "environment's url_file over file's url_file", file: "url_file: gone", env: map[string]string{env + "_FILE": "b"},
				want: inEnv, path: "b", urlFrom: "file b", fileFrom: "env " + env + "_FILE",
			},
			{
				name: "empty url beside url_file", file: "{url: '', url_file: a}", want: inFile, path: "a",
				urlFrom: "file a", fileFrom: "file tenantctl.yaml:2",
			},
		}
		for _, c := range cases {
			t.Run(store.section+"."+store.key+" "+c.name, func(t *testing.T) {
				isolate(t)
				write(t, "a", "  "+inFile+" \n\n")
				write(t, "b", inEnv)
				write(t, "tenantctl.yaml", store.section+":\n  "+strings.ReplaceAll(c.file, "url", store.key)+"\n")
				for name, value := range c.env {
					t.Setenv(name, value)
				}
				config := load(t, Options{})
				got := []string{config.Postgres.URL.Reveal(), config.Postgres.URLFile}
				switch {
				case store.key == "direct_url":
					got = []string{config.Postgres.DirectURL.Reveal(), config.Postgres.DirectURLFile}
				case store.section == "nosql":
					got = []string{config.NoSQL.URL.Reveal(), config.NoSQL.URLFile}
				}
				if got[0] != c.want || got[1] != c.path {
					t.Errorf("got %q, want %q and %q", got, c.want, c.path)
				}
				if got := setting(t, config, store.section+"."+store.key).Source; got != c.urlFrom {
					t.Errorf("url is from %q, want %q", got, c.urlFrom)
				}
				if got := setting(t, config, store.section+"."+store.key+"_file").Source; got != c.fileFrom {
					t.Errorf("url_file is from %q, want %q", got, c.fileFrom)
				}
			})
		}
	}
}

func TestSettingsMaskSecretsAndKeepTheOrderOfKeys(t *testing.T) {
	isolate(t)
	t.Setenv("TENANTCTL_POSTGRES_URL", "host=h user=u password='hunter2 x'")
	t.Setenv("TENANTCTL_NOSQL_URL", "mongodb://u:hunter2@h")
	t.Setenv("TENANTCTL_OPERATIONS_KEEP", "30d")
	config := load(t, Options{})
	settings := config.Settings()
	if len(settings) != len(Keys()) {
		t.Fatalf("%d settings of %d keys", len(settings), len(Keys()))
	}
	for i, key := range Keys() {
		if settings[i].Key != key.Name || settings[i].Secret != key.Secret {
			t.Errorf("setting %d is %+v, want %s", i, settings[i], key.Name)
		}
	}
	for key, want := range map[string]any{
		"postgres.url": "host=h user=u password=xxxxx", "nosql.url": "mongodb://u:xxxxx@h", "operations.keep": "30d",
		"fleet.parallel": 8, "nosql.enabled": true, "log.level": "warn", "actor": "",
	} {
		if got := setting(t, config, key).Value; got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	settings[0].Key = "changed by the caller"
	if config.Settings()[0].Key != "environment" {
		t.Error("the caller's change reached the configuration")
	}
}

func TestRequireStoresNamesWhatIsMissing(t *testing.T) {
	isolate(t)
	const postgres = "postgres.url: not set; write postgres.url or postgres.url_file in the configuration file, or set TENANTCTL_POSTGRES_URL"
	const nosql = "nosql.url: not set; write nosql.url or nosql.url_file in the configuration file, or set TENANTCTL_NOSQL_URL, " +
		"or nosql.enabled: false for tenants without MongoDB"
	expectFaults(t, load(t, Options{}).RequireStores(), postgres, nosql)

	t.Setenv("TENANTCTL_POSTGRES_URL", "postgres://h/db")
	expectFaults(t, load(t, Options{}).RequireStores(), nosql)

	t.Setenv("TENANTCTL_NOSQL_ENABLED", "false")
	if err := load(t, Options{}).RequireStores(); err != nil {
		t.Error(err)
	}

	t.Setenv("TENANTCTL_MIGRATIONS_ENGINE", "exec")
	expectFaults(t, load(t, Options{}).RequireStores(),
		"migrations.command: not set, and migrations.engine exec needs it", "migrations.version_query: not set, and migrations.engine exec needs it")
	t.Setenv("TENANTCTL_MIGRATIONS_ENGINE", "")

	t.Setenv("TENANTCTL_NOSQL_ENABLED", "true")
	t.Setenv("TENANTCTL_NOSQL_URL", "mongodb://h")
	if err := load(t, Options{}).RequireStores(); err != nil {
		t.Error(err)
	}
}

func TestVariablesThatAreNoKeysAreRefusedUnlessTheyAreKnown(t *testing.T) {
	isolate(t)
	for _, known := range []string{
		"TENANTCTL_TEST_NOSQL_URL", "TENANTCTL_SETUP_FOLDERS", "TENANTCTL_IMPORT_URL", "TENANTCTL_IMPORT_CRM", "TENANTCTL_SHELL_URL", "TENANTCTL_DSN",
		"TENANTCTL_TENANT_ID", "TENANTCTL_WAVE", "TENANTCTL_SERVICE_HOST", "TENANTCTL_RESOLVER_SERVICE_PORT_HTTP", "TENANTCTL_PORT_8088_TCP_ADDR", "TENANTCTL_PORT",
	} {
		t.Setenv(known, "nonsense")
	}
	t.Setenv("TENANTCTL_EMPTY", "")
	load(t, Options{})
	t.Setenv("TENANTCTL_POSTGRES_ULR", "postgres://u:hunter2@h/")
	t.Setenv("TENANTCTL_CONTXT", "x")
	t.Setenv("TENANTCTL_ENTIRELY_DIFFERENT_AND_MUCH_LONGER", "x")
	_, err := Load(Options{})
	expectFaults(t, err,
		"TENANTCTL_CONTXT: unknown variable; did you mean TENANTCTL_CONTEXT?",
		"TENANTCTL_ENTIRELY_DIFFERENT_AND_MUCH_LONGER: unknown variable; tenantctl config view lists the keys, and a variable of your own needs a name that does not begin with TENANTCTL_",
		"TENANTCTL_POSTGRES_ULR: unknown variable; did you mean TENANTCTL_POSTGRES_URL?")
}

func TestKeysHaveOneVariableEachAndLeaveReservedOnesAlone(t *testing.T) {
	seen := map[string]string{}
	for _, key := range Keys() {
		if other := seen[key.Env()]; other != "" {
			t.Errorf("%s and %s are both %s", other, key.Name, key.Env())
		}
		seen[key.Env()] = key.Name
		if key.Env() == "TENANTCTL_CONFIG" || strings.HasPrefix(key.Env(), "TENANTCTL_TEST_") {
			t.Errorf("%s takes the reserved %s", key.Name, key.Env())
		}
		if key.Doc == "" || key.Expects() == "" {
			t.Errorf("%s lacks documentation", key.Name)
		}
	}
	if seen["TENANTCTL_POSTGRES_LOCK_TIMEOUT"] != "postgres.lock_timeout" {
		t.Errorf("got %v", seen)
	}
}
