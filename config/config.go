// Package config loads the configuration: flags over environment over file over defaults, validated as a whole.
package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// The values of postgres.roles, nosql.users, migrations.engine, backup.encryption, backup.signing and log.format.
const (
	RolesPerTenant = "per-tenant"
	RolesNone      = "none"

	UsersAuto    = "auto"
	UsersRequire = "require"
	UsersNone    = "none"

	EngineGoose = "goose"
	EngineExec  = "exec"

	EncryptionNone       = "none"
	EncryptionRecipients = "recipients"
	EncryptionTenantKey  = "tenant-key"

	SigningAuto    = "auto"
	SigningRequire = "require"
	SigningNone    = "none"

	LogText = "text"
	LogJSON = "json"
)

// Config is the whole configuration, validated.
type Config struct {
	// Environment is the name of what is worked on, such as production; Protected asks for it before what destroys or
	// changes many.
	Environment string     `mapstructure:"environment"`
	Protected   bool       `mapstructure:"protected"`
	Postgres    Postgres   `mapstructure:"postgres"`
	NoSQL       NoSQL      `mapstructure:"nosql"`
	Migrations  Migrations `mapstructure:"migrations"`
	Naming      Naming     `mapstructure:"naming"`
	Fleet       Fleet      `mapstructure:"fleet"`
	Operations  Operations `mapstructure:"operations"`
	Backup      Backup     `mapstructure:"backup"`
	Delete      Delete     `mapstructure:"delete"`
	Resolve     Resolve    `mapstructure:"resolve"`
	Log         Log        `mapstructure:"log"`
	// Actor is recorded in the audit; empty: the user of the operating system.
	Actor string `mapstructure:"actor"`

	// File is the configuration file that was read; empty where there is none.
	File string `mapstructure:"-"`

	settings  []Setting
	contexts  []string // that the file has and none of which is in force
	context   string
	overrides []string
}

// Postgres says how PostgreSQL is reached and used.
type Postgres struct {
	URL                  Secret        `mapstructure:"url"`             // empty until RequireStores has passed
	URLFile              string        `mapstructure:"url_file"`        // where URL was read from, if from a file
	DirectURL            Secret        `mapstructure:"direct_url"`      // past a pooler; empty where URL needs none
	DirectURLFile        string        `mapstructure:"direct_url_file"` // where DirectURL was read from, if from a file
	Roles                string        `mapstructure:"roles"`           // RolesPerTenant or RolesNone
	MaxConnections       int           `mapstructure:"max_connections"`
	SchemasPerConnection int           `mapstructure:"schemas_per_connection"`
	LockTimeout          time.Duration `mapstructure:"lock_timeout"`
	LockRetries          int           `mapstructure:"lock_retries"`
	StatementTimeout     time.Duration `mapstructure:"statement_timeout"` // 0: no limit
	ConnectTimeout       time.Duration `mapstructure:"connect_timeout"`
	AllowSuperuser       bool          `mapstructure:"allow_superuser"`
	Bin                  string        `mapstructure:"bin"`                  // folder of pg_dump; empty: found
	ExtensionsSchema     string        `mapstructure:"extensions_schema"`    // empty: none is on the search_path
	LargeObjectColumns   string        `mapstructure:"large_object_columns"` // table.column, separated by commas
}

// NoSQL says how MongoDB is reached and used.
type NoSQL struct {
	Enabled bool          `mapstructure:"enabled"`
	URL     Secret        `mapstructure:"url"`      // empty until RequireStores has passed, or not Enabled
	URLFile string        `mapstructure:"url_file"` // where URL was read from, if from a file
	Users   string        `mapstructure:"users"`    // UsersAuto, UsersRequire or UsersNone
	Timeout time.Duration `mapstructure:"timeout"`
	Version string        `mapstructure:"version"` // of MongoDB that migrate check judges the files for; empty: the server's
}

// Migrations are the folders of the tenants' migration files, as opened from the working directory, or the tool that
// migrates the schemas instead.
type Migrations struct {
	Postgres     string        `mapstructure:"postgres"`
	MongoDB      string        `mapstructure:"mongodb"`
	Engine       string        `mapstructure:"engine"`        // EngineGoose or EngineExec
	Command      string        `mapstructure:"command"`       // of EngineExec
	VersionQuery string        `mapstructure:"version_query"` // of EngineExec
	Timeout      time.Duration `mapstructure:"timeout"`       // of one tenant's command; 0: no limit
}

// Naming is how schemas, databases and roles are named.
type Naming struct {
	Prefix string `mapstructure:"prefix"`
}

// Fleet bounds the work on many tenants.
type Fleet struct {
	Parallel    int    `mapstructure:"parallel"`
	MaxFailures string `mapstructure:"max_failures"` // "N" or "P%"

	MaxReplicationLag int64 `mapstructure:"max_replication_lag"` // bytes; 0: no limit
	MaxActive         int   `mapstructure:"max_active"`          // sessions; 0: no limit
}

// Operations bounds how long operations are owned and remembered.
type Operations struct {
	Lease time.Duration `mapstructure:"lease"`
	Keep  time.Duration `mapstructure:"keep"`
}

// Backup says where backups are kept, and who can open them.
type Backup struct {
	URL          string `mapstructure:"url"`        // a folder or a URL; empty: there are no backups
	Encryption   string `mapstructure:"encryption"` // EncryptionNone, EncryptionRecipients or EncryptionTenantKey
	Recipients   string `mapstructure:"recipients"` // age1..., separated by commas
	IdentityFile string `mapstructure:"identity_file"`
	Keys         string `mapstructure:"keys"` // a folder or a URL; empty: URL

	MaxAge time.Duration `mapstructure:"max_age"` // of an active tenant's newest backup; 0: any

	Signing        string `mapstructure:"signing"`          // SigningAuto, SigningRequire or SigningNone
	SigningKey     Secret `mapstructure:"signing_key"`      // in base64; several by commas or lines
	SigningKeyFile string `mapstructure:"signing_key_file"` // where SigningKey was read from, if from a file
}

// Delete says what becomes of deleted tenants.
type Delete struct {
	PurgeAfter time.Duration `mapstructure:"purge_after"`
}

// Log is what is logged and how.
type Log struct {
	Level  slog.Level `mapstructure:"level"`
	Format string     `mapstructure:"format"` // LogText or LogJSON
}

// Options say where to look.
type Options struct {
	// File is the configuration file that was asked for; empty: $TENANTCTL_CONFIG, tenantctl.yaml in the working folder
	// or the nearest above it, the user's own.
	File string
	// Context is the one that was asked for; empty: $TENANTCTL_CONTEXT, what UseContext chose, the file's own.
	Context string
	// Flags are those of the command; one that is named by a Key and was given wins over everything else. May be nil.
	Flags *pflag.FlagSet
}

// Setting is one key with the value in force and where that came from.
type Setting struct {
	Key string `json:"key" yaml:"key"`
	// Value is a bool, an int or a string; a duration is a string as the file takes it, a secret is masked.
	Value any `json:"value" yaml:"value"`
	// Source is "default", "file FILE:LINE", "env NAME" or "flag --NAME"; with ", overridden by ..." the value is not in force.
	Source string `json:"source" yaml:"source"`
	Secret bool   `json:"secret" yaml:"secret"`
}

// Settings gives every key, in the order of Keys.
func (c *Config) Settings() []Setting { return slices.Clone(c.settings) }

// RequireStores tells by a *Faults which connection strings are missing for a command that talks to the servers.
func (c *Config) RequireStores() error {
	missing := "not set; write %[1]s or %[1]s_file in the configuration file, or set %[2]s"
	if len(c.contexts) > 0 {
		missing += "; it has the contexts " + strings.Join(c.contexts, ", ") + ": choose one by --context or tenantctl config use-context"
	}
	var faults []Fault
	if c.Postgres.URL == "" {
		faults = append(faults, Fault{Key: "postgres.url", Problem: fmt.Sprintf(missing, "postgres.url", "TENANTCTL_POSTGRES_URL")})
	}
	for _, m := range []struct{ key, value string }{{"migrations.command", c.Migrations.Command}, {"migrations.version_query", c.Migrations.VersionQuery}} {
		if c.Migrations.Engine == EngineExec && m.value == "" {
			faults = append(faults, Fault{Key: m.key, Problem: "not set, and migrations.engine exec needs it"})
		}
	}
	if c.NoSQL.Enabled && c.NoSQL.URL == "" {
		problem := fmt.Sprintf(missing, "nosql.url", "TENANTCTL_NOSQL_URL")
		faults = append(faults, Fault{Key: "nosql.url", Problem: problem + ", or nosql.enabled: false for tenants without MongoDB"})
	}
	return faultsError(faults)
}
