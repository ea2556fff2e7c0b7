package config

import (
	"slices"
	"strings"
	"time"
)

// Key is one setting: the table of them drives defaults, environment, checks, `config view` and the documentation.
type Key struct {
	Name    string // dotted, as nested in the file: postgres.lock_timeout
	Default string // as it would be written in the file; empty: not set
	Flag    string // name of the command-line flag without dashes; empty: none
	Doc     string // one sentence or two, in the units of the value
	Secret  bool   // shown masked

	kind  kind
	mask  func(string) string // takes what may be secret in it out of a text that is shown; nil where nothing may
	holds string              // the secret key whose value the file named by this key holds
}

// Env is the environment variable of the key: TENANTCTL_POSTGRES_LOCK_TIMEOUT.
func (k Key) Env() string {
	return "TENANTCTL_" + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
}

// Expects says in words which values are allowed: "a whole number from 1 to 256".
func (k Key) Expects() string { return k.kind.expects }

// Keys gives every key there is, in the order of the example file.
func Keys() []Key { return slices.Clone(keys) }

var keys = slices.Concat(storeKeys, resolveKeys, ownKeys)

var storeKeys = []Key{
	{
		Name: "environment", kind: environment(),
		Doc: "The name of what is worked on, such as production: shown with the host and the database in the first line, in prompts and in reports. " +
			"Empty in a context: the name of the context.",
	},
	{
		Name: "protected", Default: "false", kind: boolean(),
		Doc: "true: what destroys, or changes several tenants, asks for the environment's name; without a terminal it wants --confirm with that name beside --yes.",
	},
	{
		Name: "postgres.url", Secret: true,
		kind: secretURL("a postgres:// URL or key=value pairs", checkPostgresURL),
		Doc: "The PostgreSQL database that holds the catalog and the schemas of the tenants, and the role that provisions them. " +
			"Needed by every command that talks to the servers.",
	},
	{
		Name: "postgres.url_file", kind: secretFile(), holds: "postgres.url",
		Doc: "A file whose content is postgres.url, so that the password stays out of the configuration. Set one of the two.",
	},
	{
		Name: "postgres.direct_url", Secret: true,
		kind: secretURL("a postgres:// URL or key=value pairs", checkPostgresURL),
		Doc: "The same database and role past a pooler such as PgBouncer, where postgres.url leads to one: for what needs a session of its own, which is " +
			"NO TRANSACTION migrations, backups, shell and verify --probe. Empty: postgres.url leads to PostgreSQL itself.",
	},
	{
		Name: "postgres.direct_url_file", kind: secretFile(), holds: "postgres.direct_url",
		Doc: "A file whose content is postgres.direct_url. Set one of the two.",
	},
	{
		Name: "postgres.roles", Default: RolesPerTenant, kind: oneOf(RolesPerTenant, RolesNone),
		Doc: "per-tenant: each tenant gets a role that reaches its schema alone. none: the application uses a role of its own for all.",
	},
	{
		Name: "postgres.max_connections", Default: "10", kind: wholeBetween(4, 1000),
		Doc: "The most connections open at once. A fleet works on so many tenants at once, less two, whatever fleet.parallel says.",
	},
	{
		Name: "postgres.schemas_per_connection", Default: "300", kind: wholeFrom(1),
		Doc: "A connection is replaced after working in so many schemas, since the server's memory for it grows by about 0.3 MB with each.",
	},
	{
		Name: "postgres.lock_timeout", Default: "2s", kind: serverTimeout(false),
		Doc: "How long a migration waits for a table lock before it gives way to the application and tries again.",
	},
	{
		Name: "postgres.lock_retries", Default: "5", kind: wholeBetween(0, 100),
		Doc: "How often a migration that did not get its lock is tried again before the tenant counts as failed.",
	},
	{
		Name: "postgres.statement_timeout", Default: "0", kind: serverTimeout(true),
		Doc: "The longest that one statement may run; 0 is no limit.",
	},
	{
		Name: "postgres.connect_timeout", Default: "10s", kind: durationFrom(time.Millisecond),
		Doc: "How long to wait for a new connection, and for a server that has fallen silent to answer another one.",
	},
	{
		Name: "postgres.allow_superuser", Default: "false", Flag: "allow-superuser", kind: boolean(),
		Doc: "true: restore, clone, backup verify --restore-test and migrate rehearse go on where postgres.url's role is a superuser. What a tenant wrote may run in them.",
	},
	{
		Name: "postgres.bin", kind: optionalFolder(),
		Doc: "The folder of pg_dump and pg_restore, which backup and clone need, as new as the server or newer. Empty: found in PATH and where Debian keeps them.",
	},
	{
		Name: "postgres.extensions_schema", kind: extensionsSchema(),
		Doc: "The schema that holds the extensions which tenants use, installed once. It comes after the tenant's schema on the search_path. Empty: the tenant's schema stands alone.",
	},
	{
		Name: "postgres.large_object_columns", kind: columnList(),
		Doc: "Columns of the tenants' tables of type text, varchar, integer or bigint that hold numbers of large objects, separated by commas: files.content, mails.body. Those of type oid, and of domains over it such as lo, need not be named.",
	},
	{
		Name: "nosql.enabled", Default: "true", kind: boolean(),
		Doc: "false: tenants have no MongoDB database.",
	},
	{
		Name: "nosql.url", Secret: true,
		kind: secretURL("a mongodb:// or mongodb+srv:// URL", checkMongoURL),
		Doc:  "The MongoDB server that holds the databases of the tenants. Needed while nosql.enabled is true.",
	},
	{
		Name: "nosql.url_file", kind: secretFile(), holds: "nosql.url",
		Doc: "A file whose content is nosql.url. Set one of the two.",
	},
	{
		Name: "nosql.users", Default: UsersAuto, kind: oneOf(UsersAuto, UsersRequire, UsersNone),
		Doc: "auto: each tenant gets a database user where the server knows users. require: refuse a server that does not. " +
			"none: the application uses a user of its own for all.",
	},
	{
		Name: "nosql.timeout", Default: "10s", kind: durationFrom(time.Millisecond),
		Doc: "How long to look for a server that answers, and to wait for a new connection.",
	},
	{
		Name: "nosql.version", kind: mongoVersion(),
		Doc: "The version of MongoDB that migrate check judges the files for, such as 7.0. Empty: that of the server, where it is asked.",
	},
	{
		Name: "migrations.postgres", Default: "migrations/postgres", kind: folder(),
		Doc: "The folder of the SQL migrations of a tenant's schema.",
	},
	{
		Name: "migrations.mongodb", Default: "migrations/mongodb", kind: folder(),
		Doc: "The folder of the command-file migrations of a tenant's database.",
	},
	{
		Name: "migrations.engine", Default: EngineGoose, kind: oneOf(EngineGoose, EngineExec),
		Doc: "goose: migrations.postgres is applied to each tenant's schema. exec: another tool does it, by migrations.command.",
	},
	{
		Name: "migrations.command", kind: anyText(),
		Doc: "With the engine exec: the shell command that brings one tenant's schema forward. It finds TENANTCTL_DSN, TENANTCTL_SCHEMA, TENANTCTL_DATABASE, TENANTCTL_TENANT, " +
			"TENANTCTL_TENANT_ID, TENANTCTL_ROLE and libpq's own variables in its environment.",
	},
	{
		Name: "migrations.version_query", kind: anyText(),
		Doc: "With the engine exec: SQL that gives the version of the schema that it runs in, a whole number or a text that begins with one; no row and no table are 0.",
	},
	{
		Name: "migrations.timeout", Default: "10m", kind: durationFrom(0),
		Doc: "With the engine exec: a tenant's command is ended after so long, and the tenant has failed; 0 is no limit.",
	},
	{
		Name: "naming.prefix", Default: "tenant_", kind: namePrefix(),
		Doc: "What the names of schemas, databases and roles begin with. Tenants that exist keep the names they were given.",
	},
	{
		Name: "fleet.parallel", Default: "8", Flag: "parallel", kind: wholeBetween(1, 256),
		Doc: "How many tenants are worked on at once.",
	},
	{
		Name: "fleet.max_failures", Default: "1", Flag: "max-failures", kind: maxFailures(),
		Doc: "After so many failed tenants no further one is started: a number, or a percentage of the tenants of the run.",
	},
	{
		Name: "fleet.max_replication_lag", Default: "0", kind: size(),
		Doc: "A fleet run begins no tenant while a replica of PostgreSQL is further behind than so many bytes; 0 does not look.",
	},
	{
		Name: "fleet.max_active", Default: "0", kind: wholeFrom(0),
		Doc: "A fleet run begins no tenant while more sessions of others than these are at work in PostgreSQL; 0 does not look.",
	},
	{
		Name: "operations.lease", Default: "30s", kind: durationFrom(3 * time.Second),
		Doc: "After so long without a sign of life from the process that runs an operation, another may take it over.",
	},
	{
		Name: "operations.keep", Default: "720h", kind: durationFrom(time.Hour),
		Doc: "How long finished operations stay in the catalog.",
	},
	{
		Name: "backup.url", kind: place(), mask: maskPlace,
		Doc: "Where backups are kept: a folder, file:///srv/backups, s3://bucket?region=eu-central-1, gs://bucket or azblob://container, with ?prefix=tenants/ for a part of it. " +
			"Credentials come from the environment, as the cloud's own tools take them. Empty: there are no backups, and delete wants --no-backup.",
	},
	{
		Name: "backup.encryption", Default: EncryptionNone, kind: oneOf(EncryptionNone, EncryptionRecipients, EncryptionTenantKey),
		Doc: "none: backups can be read by whoever reaches the store. recipients: encrypted by age for backup.recipients. " +
			"tenant-key: for a key of each tenant's own, which is kept encrypted for backup.recipients; destroying it makes all backups of the tenant unreadable.",
	},
	{
		Name: "backup.recipients", kind: anyText(), mask: maskKeys,
		Doc: "The public keys (age1...) that can open encrypted backups, separated by commas.",
	},
	{
		Name: "backup.identity_file", Flag: "identity", kind: optionalFile(),
		Doc: "A file with the private keys (AGE-SECRET-KEY-1...), as age-keygen writes it: needed to verify and restore encrypted backups, not to make them.",
	},
	{
		Name: "backup.keys", kind: place(), mask: maskPlace,
		Doc: "Where the tenants' own keys are kept, where that is not backup.url: a store whose objects can be removed, however long backup.url must keep them.",
	},
	{
		Name: "backup.max_age", Default: "0s", Flag: "stale", kind: durationFrom(0),
		Doc: "doctor finds active tenants whose newest whole backup is older, or that have none; a tenant that is younger needs none yet. 0s: doctor does not look.",
	},
	{
		Name: "backup.signing", Default: SigningAuto, kind: oneOf(SigningAuto, SigningRequire, SigningNone),
		Doc: "auto: backups are signed where backup.signing_key is set, and a signature of one of its keys has to be right. require: what none of the keys has signed is " +
			"neither restored nor verified nor entered by a scan. none: signatures are neither made nor looked at.",
	},
	{
		Name: "backup.signing_key", Secret: true, kind: signingKeys(),
		Doc: "The keys that sign backups (HMAC-SHA256), 32 bytes or more in base64 as openssl rand -base64 32 makes them, separated by commas. " +
			"The first signs, all verify: a new key is put before the old ones.",
	},
	{
		Name: "backup.signing_key_file", kind: secretFile(), holds: "backup.signing_key",
		Doc: "A file whose content is backup.signing_key, a key a line. Set one of the two.",
	},
	{
		Name: "delete.purge_after", Default: "7d", kind: durationFrom(0),
		Doc: "How long a deleted tenant, and what a restore has replaced, is kept and can be undeleted; then purge --due takes it.",
	},
}

var ownKeys = []Key{
	{
		Name: "log.level", Default: "warn", Flag: "log-level", kind: logLevel(),
		Doc: "The least level that is logged to stderr.",
	},
	{
		Name: "log.format", Default: LogText, Flag: "log-format", kind: oneOf(LogText, LogJSON),
		Doc: "text for people, json for a log collector.",
	},
	{
		Name: "actor", Flag: "actor", kind: lineOfText(),
		Doc: "Who is recorded in the audit; the user of the operating system where it is empty.",
	},
}
