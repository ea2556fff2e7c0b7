package cmd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/term"

	"github.com/tenantctl/tenantctl/archive"
	"github.com/tenantctl/tenantctl/config"
	"github.com/tenantctl/tenantctl/nosql"
	"github.com/tenantctl/tenantctl/schema"
	"github.com/tenantctl/tenantctl/tenant"
)

// app is what every command shares: streams, and configuration and service made when first asked for.
type app struct {
	in           io.Reader
	out, errOut  *stream
	configFile   string
	context      string      // --context
	confirmed    string      // --confirm, or what was typed
	quiet        bool        // --quiet
	progressFlag string      // --progress
	watches      atomic.Bool // it only looks on: what it looks at goes on when it is stopped
	completing   bool        // answers the shell: nothing is said beside
	format       format
	filter       filter // what --jq or jsonpath makes of a document; nil where it is printed as it is
	lists        listOptions
	cmd          *cobra.Command // the one that runs
	cfg          *config.Config
	target       *config.Target // what named adds, once it was asked for
	pool         *pgxpool.Pool  // of the catalog; nil until it was asked for
	serves       bool           // it runs until it is stopped, and that is no failure
	closers      []func()
	progress     *progress
	endImport    func() // ends the progress of an import on the screen
	clearing     atomic.Pointer[func()]
	warned       sync.Map // what warnOnce has told
}

func newApp(in io.Reader, out, errOut io.Writer) *app {
	return &app{in: in, out: &stream{to: out}, errOut: &stream{to: errOut, shows: true}}
}

// clearScreen takes the progress of an import off the screen, whoever is asking.
func (a *app) clearScreen() {
	if clear := a.clearing.Load(); clear != nil {
		(*clear)()
	}
}

// tellInterrupted says what becomes of the work that a signal interrupts.
func (a *app) tellInterrupted() {
	a.clearScreen()
	text := "interrupted: finishing or undoing what is in flight; once more to stop at once"
	if a.watches.Load() {
		text = "interrupted: what was looked at goes on"
	}
	a.tell(slog.LevelInfo, "\n"+text, text)
}

// start takes the flags that every command has.
func (a *app) start(cmd *cobra.Command) error {
	a.cmd = cmd
	a.progress = newProgress(a)
	if err := a.checkProgress(); err != nil {
		return err
	}
	return a.outputs(cmd)
}

func (a *app) close() {
	for i := len(a.closers) - 1; i >= 0; i-- {
		a.closers[i]()
	}
}

// config loads the configuration once.
func (a *app) config() (*config.Config, error) {
	if a.cfg != nil {
		return a.cfg, nil
	}
	cfg, err := config.Load(config.Options{File: a.configFile, Context: a.context, Flags: a.cmd.Flags()})
	if err != nil {
		return nil, err
	}
	a.cfg = cfg
	a.errOut.asJSON(cfg.Log.Format == config.LogJSON)
	a.announce(cfg)
	return cfg, a.checkConfirmed(cfg)
}

func (a *app) logger(cfg *config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.Log.Level}
	if cfg.Log.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(a.errOut, o))
	}
	return slog.New(slog.NewTextHandler(a.errOut, o))
}

// catalog connects to PostgreSQL alone, for commands that ask only the catalog.
func (a *app) catalog(ctx context.Context) (*tenant.Catalog, *schema.Resource, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, nil, err
	}
	if err := cfg.RequireStores(); err != nil {
		return nil, nil, err
	}
	c := schemaConfig(cfg)
	c.Warn = a.warnOnce
	pool, err := schema.Open(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	a.pool = pool
	a.closers = append(a.closers, pool.Close)
	postgres := schema.New(pool, c)
	a.closers = append(a.closers, postgres.Close)
	return tenant.NewCatalog(pool, cfg.Actor, cfg.Operations.Lease), postgres, nil
}

// lookup is the service for commands that read the catalog and no store.
func (a *app) lookup(ctx context.Context) (*tenant.Service, error) {
	c, _, err := a.catalog(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.Require(ctx); err != nil {
		return nil, err
	}
	return a.wire(c, nil), nil
}

// service is the whole service, with every store.
func (a *app) service(ctx context.Context) (*tenant.Service, error) {
	c, postgres, err := a.catalog(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.Require(ctx); err != nil {
		return nil, err
	}
	resources := []tenant.Resource{postgres}
	mongodb, err := a.mongodb(ctx)
	if err != nil {
		return nil, err
	}
	if mongodb != nil {
		resources = append(resources, mongodb)
	}
	return a.wire(c, resources), nil
}

// mongodb connects to MongoDB; nil where the configuration does without.
func (a *app) mongodb(ctx context.Context) (*nosql.Resource, error) {
	if !a.cfg.NoSQL.Enabled {
		return nil, nil
	}
	c := nosqlConfig(a.cfg)
	c.Warn = a.warnOnce
	client, err := nosql.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, func() { disconnect(client) })
	return nosql.New(client, c), nil
}

func disconnect(client *mongo.Client) {
	// The program is ending; the server notices whatever this says.
	_ = client.Disconnect(context.Background())
}

func (a *app) wire(c *tenant.Catalog, resources []tenant.Resource) *tenant.Service {
	s := tenant.NewService(c, resources, tenant.Options{
		Naming: tenant.Naming{Prefix: a.cfg.Naming.Prefix}, Keep: a.cfg.Operations.Keep,
		// Each worker holds one connection and now and then needs a second.
		MaxParallel: max(1, a.cfg.Postgres.MaxConnections-2),
		Log:         a.logger(a.cfg), Events: a.progress.event, Warn: a.warnOnce,
		Vault: a.vault(), KeepDeleted: a.cfg.Delete.PurgeAfter, Tool: version,
	})
	s.ResolverWait = a.cfg.Resolve.Wait
	a.closers = append(a.closers, s.Close)
	return s
}

// vault opens the place of backups; nil where there is none.
func (a *app) vault() func(context.Context) (tenant.Vault, error) {
	b := a.cfg.Backup
	if b.URL == "" {
		return nil
	}
	return func(ctx context.Context) (tenant.Vault, error) {
		a.warnOfReaders("backup.identity_file", b.IdentityFile)
		a.warnOfReaders("backup.signing_key_file", b.SigningKeyFile)
		c := archive.Config{URL: b.URL, KeysURL: b.Keys, KeyPerTenant: b.Encryption == config.EncryptionTenantKey, IdentityFile: b.IdentityFile, Signing: b.Signing}
		if keys := b.SigningKey.Reveal(); keys != "" {
			c.SigningKeys = strings.Split(keys, ",")
		}
		if b.Encryption != config.EncryptionNone {
			for _, r := range strings.Split(b.Recipients, ",") {
				if r = strings.TrimSpace(r); r != "" {
					c.Recipients = append(c.Recipients, r)
				}
			}
			if len(c.Recipients) == 0 {
				return nil, tenant.Invalid("set it to the public keys of those who may open backups", "backup.recipients is not set, and backup.encryption is %s", b.Encryption)
			}
		}
		v, err := archive.OpenVault(ctx, c)
		if err != nil {
			return nil, err
		}
		a.closers = append(a.closers, func() {
			// The program is ending; nothing is in flight any more.
			_ = v.Close()
		})
		return v, nil
	}
}

// warnOfReaders warns of a file with secrets that others on this machine can read.
func (a *app) warnOfReaders(key, file string) {
	if file == "" {
		return
	}
	if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		a.warnOnce(fmt.Sprintf("%s: others on this machine can read %s (%v): chmod 600 %s", key, file, info.Mode().Perm(), file))
	}
}

// offline is the service for commands that read migration files and no server.
func (a *app) offline() (*tenant.Service, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	resources := []tenant.Resource{schema.New(nil, schemaConfig(cfg))}
	if cfg.NoSQL.Enabled {
		resources = append(resources, nosql.New(nil, nosqlConfig(cfg)))
	}
	return a.wire(nil, resources), nil
}

func schemaConfig(cfg *config.Config) schema.Config {
	var engine *schema.Engine
	if m := cfg.Migrations; m.Engine == config.EngineExec {
		engine = &schema.Engine{Command: m.Command, VersionQuery: m.VersionQuery, Timeout: m.Timeout}
	}
	return schema.Config{
		Engine: engine,
		URL:    cfg.Postgres.URL.Reveal(), DirectURL: cfg.Postgres.DirectURL.Reveal(), Dir: cfg.Migrations.Postgres, Roles: cfg.Postgres.Roles == config.RolesPerTenant,
		MaxConnections: cfg.Postgres.MaxConnections, SchemasPerConnection: cfg.Postgres.SchemasPerConnection,
		LockTimeout: cfg.Postgres.LockTimeout, LockRetries: cfg.Postgres.LockRetries,
		StatementTimeout: cfg.Postgres.StatementTimeout, ConnectTimeout: cfg.Postgres.ConnectTimeout, Bin: cfg.Postgres.Bin,
		AllowSuperuser: cfg.Postgres.AllowSuperuser, ExtensionsSchema: cfg.Postgres.ExtensionsSchema,
		LargeObjectColumns: strings.FieldsFunc(cfg.Postgres.LargeObjectColumns, func(c rune) bool { return c == ',' || c == ' ' }),
		MaxReplicationLag:  cfg.Fleet.MaxReplicationLag, MaxActive: cfg.Fleet.MaxActive,
	}
}

func nosqlConfig(cfg *config.Config) nosql.Config {
	return nosql.Config{URL: cfg.NoSQL.URL.Reveal(), Dir: cfg.Migrations.MongoDB, Users: cfg.NoSQL.Users, Timeout: cfg.NoSQL.Timeout, Version: cfg.NoSQL.Version}
}

// isTerminal tells whether a stream is a person's.
func isTerminal(stream any) bool {
	f, ok := beneath(stream).(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// say writes a line for the person to stderr, unless a script reads along or nobody wants to read it.
func (a *app) say(format string, args ...any) {
	if a.format == formatTable && !a.quiet {
		text := fmt.Sprintf(format, args...)
		a.tell(slog.LevelInfo, text, text)
	}
}

// warnOnce is warn for what is found on the way, by many at once.
func (a *app) warnOnce(text string) {
	if _, told := a.warned.LoadOrStore(text, true); !told {
		a.progress.end()
		a.warn([]string{text})
	}
}

// warn writes warnings to stderr, whoever reads.
func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		a.tell(slog.LevelWarn, a.paint(yellow, "warning:")+" "+w, w)
	}
}
