package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const twoContexts = `environment: development
postgres:
  url: postgres://u:pw@localhost/dev
  lock_retries: 9
nosql: {enabled: false}
contexts:
  staging:
    postgres: {url: "postgres://u:pw@staging.example.com/app"}
  production:
    environment: prod-eu
    protected: true
    postgres:
      url_file: secrets/production
      lock_retries: 3
`

func TestAContextIsLaidOverTheRestOfTheFile(t *testing.T) {
	isolate(t)
	write(t, "tenantctl.yaml", twoContexts)
	write(t, "secrets/production", "postgres://u:pw@db.example.com/app")
	for _, c := range []struct {
		context     string
		environment string
		postgres    string
		retries     int
		isProtected bool
	}{
		{"", "development", "localhost:5432/dev", 9, false},
		{"staging", "staging", "staging.example.com:5432/app", 9, false},
		{"production", "prod-eu", "db.example.com:5432/app", 3, true},
	} {
		config := load(t, Options{Context: c.context})
		want := Target{Environment: c.environment, Context: c.context, Protected: c.isProtected, Postgres: c.postgres}
		if got := config.Target(); got != want || config.Postgres.LockRetries != c.retries {
			t.Errorf("%q: got %+v with %d retries, want %+v with %d", c.context, got, config.Postgres.LockRetries, want, c.retries)
		}
	}
	if got := setting(t, load(t, Options{Context: "staging"}), "postgres.url"); got.Source != "file tenantctl.yaml:8" {
		t.Errorf("got %+v", got)
	}
}

func TestTheContextIsThatOfFlagThenVariableThenChoiceThenFile(t *testing.T) {
	isolate(t)
	write(t, "tenantctl.yaml", "current-context: a\ncontexts: {a: , b: , c: , d: }\n")
	want := func(name string) {
		t.Helper()
		if got := load(t, Options{}).Target().Context; got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
	want("a")
	if _, err := UseContext(Options{}, "b"); err != nil {
		t.Fatal(err)
	}
	want("b")
	t.Chdir("..")
	t.Setenv("TENANTCTL_CONFIG", "")
	t.Chdir(filepath.Dir(mustFind(t)))
	t.Setenv("TENANTCTL_CONTEXT", "c")
	want("c")
	if told := load(t, Options{}).Overrides(); !slices.Equal(told, []string{"TENANTCTL_CONTEXT chooses the context c over b (config use-context)"}) {
		t.Errorf("got %q", told)
	}
	if got := load(t, Options{Context: "d"}).Target().Context; got != "d" {
		t.Errorf("got %q", got)
	}
	t.Setenv("TENANTCTL_CONTEXT", "")
	if _, err := UseContext(Options{}, ""); err != nil {
		t.Fatal(err)
	}
	want("a")
	if content, err := os.ReadFile("tenantctl.yaml"); err != nil || !strings.HasPrefix(string(content), "current-context: a\n") {
		t.Errorf("the file was changed: %q, %v", content, err)
	}
}

// mustFind is the real path of the file that a choice was kept for.
func mustFind(t *testing.T) string {
	t.Helper()
	choices, err := readChoices()
	if err != nil || len(choices) != 1 {
		t.Fatalf("got %v, %v", choices, err)
	}
	for path := range choices {
		return path
	}
	return ""
}

func TestContextsThatCannotBeUsedAreRefusedWithoutTheirSecrets(t *testing.T) {
	for _, c := range []struct{ file, asked, want string }{
		{twoContexts, "stagin", `--context: there is no context "stagin"; did you mean staging?; tenantctl.yaml has production, staging`},
		{twoContexts, "postgres://u:hunter2@h/", "--context: there is no context xxxxx; tenantctl.yaml has production, staging"},
		{"actor: a\n", "staging", `--context: there is no context "staging": tenantctl.yaml has no contexts`},
		{"contexts:\n", "staging", `--context: there is no context "staging": tenantctl.yaml has no contexts`},
		{"", "staging", `--context: there is no context "staging": no configuration file was found; tenantctl config init writes one`},
		{"current-context: gone\ncontexts: {a: }\n", "", `tenantctl.yaml:1: there is no context "gone"; tenantctl.yaml has a`},
		{"current-context: [a]\n", "", "current-context (tenantctl.yaml:1): found a list where the name of a context was expected"},
		{"contexts: [a]\n", "", `contexts (tenantctl.yaml:1): found a list where names of contexts were expected, such as "staging: ..."`},
		{"contexts:\n  a: postgres://u:hunter2@h/\n", "", `contexts.a (tenantctl.yaml:2): found a single value where keys were expected, such as "environment: ..."`},
		{"contexts:\n  \"postgres://u:hunter2@h/\": {}\n", "", "contexts (tenantctl.yaml:2): found xxxxx, which is not the name of a context: " + environmentShape},
		{"contexts:\n  a: {url: \"postgres://u:hunter2@h/\"}\n", "", "contexts.a.url (tenantctl.yaml:2): unknown key; did you mean postgres.url?"},
		{"contexts:\n  a: {contexts: {b: }}\n", "", "contexts.a.contexts (tenantctl.yaml:2): unknown key; did you mean contexts?"},
		{"contexts:\n  a: {postgres: {lock_retries: many}}\n", "a", `postgres.lock_retries (tenantctl.yaml:2): "many" is not a whole number from 0 to 100`},
		{"contexts:\n  a:\n  a:\n", "", "contexts.a (tenantctl.yaml:3): is here twice, first on line 2; remove one"},
		{"environment: postgres://u:hunter2@h/\n", "", "environment (tenantctl.yaml:1): xxxxx is not a name of " + environmentShape},
		{"protected: true\n", "", "protected: needs the name that is asked for; set environment too, such as environment: production"},
	} {
		t.Run(c.want, func(t *testing.T) {
			isolate(t)
			if c.file != "" {
				write(t, "tenantctl.yaml", c.file)
			}
			_, err := Load(Options{Context: c.asked})
			expectFaults(t, err, c.want)
		})
	}
}

func TestAChoiceOfAContextNeedsAFileAndAContextOfIt(t *testing.T) {
	isolate(t)
	_, err := UseContext(Options{}, "a")
	expectFaults(t, err, `there is no context "a": no configuration file was found; tenantctl config init writes one`)
	write(t, "tenantctl.yaml", "contexts: {staging: }\n")
	_, err = UseContext(Options{}, "stging")
	expectFaults(t, err, `there is no context "stging"; did you mean staging?; tenantctl.yaml has staging`)
	write(t, choiceFile(), "- nonsense\n")
	_, err = Load(Options{})
	expectFaults(t, err, choiceFile()+": the choice of config use-context cannot be read: it is not a list of files and contexts; remove the file, or name a context by --context")
	if got := load(t, Options{Context: "staging"}).Target().Context; got != "staging" {
		t.Errorf("got %q", got)
	}
}

func TestAVariableThatOverridesTheFileIsTold(t *testing.T) {
	isolate(t)
	write(t, "tenantctl.yaml", "postgres:\n  url: postgres://u:hunter2@h/db\nfleet: {parallel: 3}\n")
	t.Setenv("TENANTCTL_POSTGRES_URL", "postgres://u:hunter2@h/db")
	t.Setenv("TENANTCTL_FLEET_PARALLEL", "3")
	t.Setenv("TENANTCTL_ACTOR", "ci")
	if told := load(t, Options{}).Overrides(); len(told) > 0 {
		t.Errorf("what is the same, or not in the file, is told: %q", told)
	}
	t.Setenv("TENANTCTL_FLEET_PARALLEL", "4")
	t.Setenv("TENANTCTL_POSTGRES_URL", "postgres://u:hunter2@h2/db")
	want := []string{"TENANTCTL_POSTGRES_URL overrides postgres.url of tenantctl.yaml:2", "TENANTCTL_FLEET_PARALLEL overrides fleet.parallel of tenantctl.yaml:3"}
	if told := load(t, Options{}).Overrides(); !slices.Equal(told, want) {
		t.Errorf("got %q", told)
	}
}

func TestAVariableDoesNotLiftAProtection(t *testing.T) {
	isolate(t)
	write(t, "tenantctl.yaml", "environment: production\nprotected: true\n")
	t.Setenv("TENANTCTL_PROTECTED", "false")
	t.Setenv("TENANTCTL_ENVIRONMENT", "test")
	_, err := Load(Options{})
	const why = "tenantctl.yaml:2 protects this environment, and a variable cannot change that; unset it"
	expectFaults(t, err, "environment (TENANTCTL_ENVIRONMENT): "+why, "protected (TENANTCTL_PROTECTED): "+why)
}

func TestTheFileIsLookedForUpwardsToTheRepositoryOrHome(t *testing.T) {
	isolate(t)
	write(t, "tenantctl.yaml", "actor: outside\n")
	write(t, "work/tenantctl.yaml", "actor: inside\nbackup: {url: backups}\n")
	write(t, "work/repository/.git", "gitdir: elsewhere\n")
	write(t, "work/repository/a/b/.keep", "")
	write(t, "work/c/.keep", "")
	start, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ folder, home, actor string }{
		{".", "", "outside"},
		{"work/c", "", "inside"},
		{"work/repository/a/b", "", ""},
		{"work/repository", "", ""},
		{"work/c", "work/c", ""},
		{"work/c", "work", "inside"},
	} {
		t.Chdir(start)
		if c.home != "" {
			t.Setenv("HOME", filepath.Join(start, c.home))
		}
		t.Chdir(c.folder)
		if got := load(t, Options{}).Actor; got != c.actor {
			t.Errorf("in %s at home in %q: got %q, want %q", c.folder, c.home, got, c.actor)
		}
	}
	t.Chdir(filepath.Join(start, "work/c"))
	config := load(t, Options{})
	if config.Backup.URL != "../backups" || config.Migrations.Postgres != "../migrations/postgres" || config.File != "../tenantctl.yaml" {
		t.Errorf("paths do not start from the file: %q, %q, %q", config.Backup.URL, config.Migrations.Postgres, config.File)
	}
}

func TestContextsAreListedWithTheirTargets(t *testing.T) {
	isolate(t)
	write(t, "tenantctl.yaml", twoContexts)
	list, path, err := Contexts(Options{Context: "staging"})
	want := []Context{
		{Name: "production", Environment: "prod-eu", Protected: true, Problem: "postgres.url_file (tenantctl.yaml:13): cannot read \"secrets/production\": no such file or directory; it should be a file that holds postgres.url"},
		{Name: "staging", Current: true, Environment: "staging", Postgres: "staging.example.com:5432/app"},
	}
	if err != nil || path != "tenantctl.yaml" || !slices.Equal(list, want) {
		t.Errorf("got %+v, %q, %v", list, path, err)
	}
}
