package tenant

import (
	"context"
	"fmt"
)

// Kinds of resource, as the catalog and every report name them.
const (
	KindPostgres = "postgres"
	KindMongoDB  = "mongodb"
)

// Resource is what a tenant has one of in a store. Each method is idempotent and may be called again after
// a crash at any point of an earlier call. Errors are *Error with Store set, without the tenant's name, which
// the caller adds. Writes ask LeaseFrom(ctx) first, so that a process that was taken over cannot go on.
type Resource interface {
	// Kind is the stable key in the catalog.
	Kind() string
	// Create takes the tenant from absent to present, at the newest version. A place of that name that was made
	// for somebody else is ErrForeign, and is left as it is. Present and ours is success.
	Create(ctx context.Context, t Tenant) error
	// Drop takes away what Create made for this tenant, and nothing else. Absent is success; what has the tenant's names and
	// not its ownership tag is ErrForeign, and is left as it is, with all else.
	Drop(ctx context.Context, t Tenant) error
	// Stat tells what is really there.
	Stat(ctx context.Context, t Tenant) (Stat, error)
}

// Vacancy is a Resource that can tell for many tenants by one look that their places are free.
type Vacancy interface {
	// Vacant is true where nothing had the tenant's name a moment ago. Create looks at the place itself.
	Vacant(ctx context.Context, t Tenant) (bool, error)
}

// Presence says whose place it is that a tenant's names point to.
type Presence string

// The three answers; Ours is known by the tenant's id, written into the place when it was made.
const (
	Absent  Presence = "absent"
	Ours    Presence = "present"
	Foreign Presence = "foreign"
)

// Stat is what one store really holds of a tenant.
type Stat struct {
	Presence Presence `json:"presence"`
	Remains  []string `json:"remains"`             // what exists under the tenant's names: "schema tenant_acme", "role tenant_acme"
	NotOwned []string `json:"not_owned,omitempty"` // what of that does not bear the tenant's ownership tag
	Version  int64    `json:"version"`             // newest migration applied; 0 where none is
	Applied  int      `json:"applied"`             // how many migrations are applied
	Bytes    int64    `json:"bytes"`               // size on disk, indexes included
	Objects  int64    `json:"objects"`             // tables or collections, version books excluded
	Users    []string `json:"users"`               // who can log in for the tenant
	Locked   bool     `json:"locked"`              // the users are locked out
	Stopped  *Stopped `json:"stopped,omitempty"`   // a migration that was begun and is not finished
	Notes    []string `json:"notes,omitempty"`     // what a reader should know, such as a server without users
}

// Stopped is where a migration stands that a failure or a crash has ended in its middle. The next run goes on there.
type Stopped struct {
	File      string `json:"file"` // without the folder; "version 7" where there is no such file here
	Version   int64  `json:"version"`
	Direction string `json:"direction"`         // up or down
	Unit      string `json:"unit"`              // what is counted: statement or command
	Done      int    `json:"done"`              // so many are done
	Of        int    `json:"of"`                // of so many; 0 where there is no such file here
	Changed   bool   `json:"changed,omitempty"` // what is done is not what the file says now
}

// String says how far it got: "00007_x.sql stopped after statement 2 of 3".
func (s Stopped) String() string {
	text := s.File + " " + s.At()
	if s.Direction == "down" {
		text += " on its way down"
	}
	if s.Changed {
		text += " and was changed since"
	}
	return text
}

// At says it without the file: "stopped after statement 2 of 3".
func (s Stopped) At() string {
	text := fmt.Sprintf("stopped after %s %d", s.Unit, s.Done)
	if s.Done == 0 {
		text = fmt.Sprintf("stopped in %s 1", s.Unit)
	}
	if s.Of > 0 {
		text += fmt.Sprintf(" of %d", s.Of)
	}
	return text
}

// Migrator is a Resource with versions.
type Migrator interface {
	Resource
	// Files reads the migrations on disk in order of version. A broken or missing folder or file is ErrMigration
	// (naming file and line) or ErrInvalid.
	Files(ctx context.Context) ([]MigrationFile, error)
	// Up applies what is not applied up to and including version to (Newest for all). A version that lies below
	// the newest applied one is refused unless outOfOrder. Books that know a version that the files do not are
	// refused. Each migration is applied wholly or, at a crash, applied again at the next call.
	Up(ctx context.Context, t Tenant, to int64, outOfOrder bool) (Moved, error)
	// Down undoes the applied versions above to, newest first. A file without a Down is refused before anything is run.
	Down(ctx context.Context, t Tenant, to int64) (Moved, error)
	// Versions reads the real version books of many tenants, in bulk, in the order given.
	Versions(ctx context.Context, ts []Tenant) ([]Version, error)
	// Check finds what is wrong or risky in the files, without a tenant.
	Check(ctx context.Context) ([]Finding, error)
	// New writes an empty migration of that name after the newest one and returns the paths; with dryRun it writes
	// nothing and makes no folder.
	New(name string, dryRun bool) ([]string, error)
}

// Delegate is a Migrator that may have another tool do the work. Then there are no files here; each tenant is asked for each
// time, since only the other tool knows whether there is something to do; versions are what that tool counts, and the newest is
// the highest that a tenant has.
type Delegate interface {
	Migrator
	Delegates() bool
}

func delegates(m Resource) bool {
	d, ok := m.(Delegate)
	return ok && d.Delegates()
}

// ownWork refuses what only migration files here make possible, where a store has another tool do the work.
func ownWork(doing string, ms ...Migrator) error {
	for _, m := range ms {
		if delegates(m) {
			return &Error{Kind: ErrInvalid, Code: "engine", Store: m.Kind(), Msg: doing + " is the other tool's to do: migrations.engine is exec", Hint: "use that tool; MongoDB's files are still here: --only mongodb"}
		}
	}
	return nil
}

// Newest asks for all migrations that there are.
const Newest int64 = -1

// MigrationFile is one version on disk.
type MigrationFile struct {
	Version  int64
	Name     string
	Path     string   // of the up side
	Checksum string   // of what the file does, up and down: spaces, comments and line ends do not count
	Earlier  []string // what earlier releases have recorded of the same file: SHA-256 of its bytes, in hex
	Empty    bool     // its up side does nothing
}

// Moved is what Up or Down did.
type Moved struct {
	From, To int64
	Ran      []int64 // versions, in the order they were run
	Applied  int     // how many are applied now
	Output   string  // what another tool said, if one did the work
}

// Version is one tenant's real version in one store.
type Version struct {
	Presence Presence
	Version  int64
	Applied  int
	Err      error // what could not be read, for this tenant alone
}

// Finding is one remark of a check.
type Finding struct {
	Store    string `json:"store"`
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`
	Rule     string `json:"rule"`
	Severity string `json:"severity"` // "error" or "warning"
	Message  string `json:"message"`
	// Alternative is what to do instead; empty where the message says it.
	Alternative string `json:"alternative,omitempty"`
	Version     int64  `json:"-"` // of the file; 0 where that is none
	Live        bool   `json:"-"` // about tables in use: what every tenant has is past that
	Ignored     bool   `json:"-"` // by a comment in the file
}

// Rule is what a check looks for.
type Rule struct {
	ID          string `json:"rule"`
	Store       string `json:"store"`
	Severity    string `json:"severity"`
	Reason      string `json:"reason"`
	Alternative string `json:"alternative"`
	Live        bool   `json:"live"` // about tables in use
}

// Ruled is a Resource that says by which rules it checks migrations.
type Ruled interface {
	Resource
	Rules() []Rule
}

// Locker is a Resource whose users can be locked out.
type Locker interface {
	Resource
	// Lock takes every right to log in or act from the tenant's users and ends their connections.
	// enforced is false where the store has nothing to lock (roles or users are not kept there).
	Lock(ctx context.Context, t Tenant) (enforced bool, err error)
	// Unlock gives back what Lock took; the password is what it was.
	Unlock(ctx context.Context, t Tenant) error
}

// Credentialer is a Resource with a login of the tenant's own.
type Credentialer interface {
	Resource
	// Login gives the connection details without a password.
	Login(t Tenant) Login
	// SetPassword gives the tenant's user that password. ErrUnsupported where the store keeps no users. seal is called, where it
	// is given, once the store has shown that it takes the password and before anything is changed for good: where seal fails,
	// nothing is.
	SetPassword(ctx context.Context, t Tenant, password string, seal func(context.Context) error) error
}

// Login is how a tenant's application connects to one store.
type Login struct {
	Store    string `json:"store"`
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Database string `json:"database"`
	Schema   string `json:"schema,omitempty"`
	User     string `json:"user"` // empty where the store keeps no user for the tenant
	Password string `json:"password,omitempty"`
	Options  string `json:"options,omitempty"` // URL query the connection needs, such as sslmode
	Note     string `json:"note,omitempty"`
	Err      error  `json:"-"` // why the store could not tell; the note says it too
}

// ShellOptions are how a person enters.
type ShellOptions struct {
	Prompt        string // environment and tenant, of letters, digits and . _ - /; empty: the client's own
	Danger        bool   // the prompt is red
	AsProvisioner bool   // with the rights of the role that provisions, instead of the tenant's
}

// Shell is a Resource that a person can enter by its own client program.
type Shell interface {
	Resource
	// Command is the client's program with arguments and environment, which holds the secrets; nothing secret is in args.
	// cleanup removes what was written for it and is never nil.
	Command(ctx context.Context, t Tenant, o ShellOptions) (program string, args, env []string, cleanup func(), err error)
}

// Execer is a Resource that runs one statement in a tenant's place.
type Execer interface {
	Resource
	// Admit refuses a statement that is never run, or not without being asked for, before any tenant is touched.
	Admit(x Statement) error
	// WithoutValues is a statement without the values in it, which may be secrets; nothing but how it begins where that cannot be
	// told.
	WithoutValues(statement string) string
	// Exec runs the statement, in a transaction of its own where the store has them, and streams its rows.
	Exec(ctx context.Context, t Tenant, x Statement, sink RowSink) (rows int64, err error)
}

// Statement is what exec runs, and what it may do beside reading.
type Statement struct {
	Text          string
	Write         bool // may change rows
	DDL           bool // may change the structure, with the rights of whoever owns it; goes with Write
	AsProvisioner bool // with the rights of the role that provisions, instead of the tenant's
}

// RowSink takes a result row by row; columns come first, and again for each tenant.
type RowSink interface {
	Columns(names []string) error
	Row(values []any) error
}
