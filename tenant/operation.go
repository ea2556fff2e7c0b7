package tenant

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// OpState is where an operation is.
type OpState string

// The states of an operation. Running, undoing and stuck are live: they hold their tenant.
const (
	OpPending OpState = "pending" // part of a run, not started
	OpRunning OpState = "running"
	OpUndoing OpState = "undoing"
	OpStuck   OpState = "stuck" // neither finished nor undone, and nobody works on it: resume or abort
	OpDone    OpState = "done"
	OpUndone  OpState = "undone"  // failed, and everything it made is gone again
	OpFailed  OpState = "failed"  // failed, with nothing left to undo
	OpAborted OpState = "aborted" // ended by ops abort or by Ctrl-C
)

// Live tells whether an operation in this state holds its tenant.
func (s OpState) Live() bool { return s == OpRunning || s == OpUndoing || s == OpStuck }

// Kinds of operation.
const (
	OpCreate    = "create"
	OpAdopt     = "adopt"
	OpAdoptRole = "adopt-role" // for a tenant that was adopted without one
	OpDelete    = "delete"
	OpSuspend   = "suspend"
	OpResume    = "resume"
	OpRename    = "rename"
	OpSet       = "set"
	OpMigrate   = "migrate"
	OpDown      = "migrate-down"
	OpBaseline  = "migrate-baseline"
	OpRedo      = "migrate-redo"
	OpPassword  = "credentials"
	OpImport    = "import"
	OpBackup    = "backup"
	OpRestore   = "restore"
	OpTest      = "restore-test" // of a backup, in a tenant that is there for no longer
	OpRehearse  = "rehearse"     // of migrations, in a copy of a tenant that is there for no longer
	OpClone     = "clone"
	OpUndelete  = "undelete"
	OpPurge     = "purge"
	OpVerifyFix = "verify-fix" // of what a verification found
	OpApply     = "apply"      // of a file that declares tenants: a run, and its part for each of them
	OpProbe     = "probe"      // of the isolation of tenants, which changes nothing for good
)

// restartable operations leave nothing half done that their next run would not put right: a dead one is closed, not
// resumed.
func (o *Operation) restartable() bool {
	switch o.Kind {
	case OpMigrate, OpDown, OpRedo, OpBaseline, OpPassword, OpImport, OpVerifyFix:
		return true
	case OpBackup: // one that locked users out has to let them in again
		var p backupParams
		return json.Unmarshal(o.Params, &p) == nil && !p.Quiesce
	}
	return false
}

// Operation is one change, from its intent to its result.
type Operation struct {
	ID         uuid.UUID
	Kind       string
	Run        *uuid.UUID // the fleet run it belongs to
	TenantID   *uuid.UUID // nil for a fleet run
	Tenant     Name
	State      OpState
	Params     json.RawMessage
	Result     json.RawMessage
	Error      *Failure
	Actor      string
	Owner      Process
	Fence      int64
	LeaseUntil *time.Time
	CreatedAt  time.Time
	StartedAt  *time.Time
	FinishedAt *time.Time
	Steps      []Step

	// Interrupted tells that the operation is live and nobody works on it any more: it can be resumed or aborted.
	// Only what the Service gives to be shown has it: Operations, Operation and Describe.
	Interrupted bool
	Slow        bool // it is in work for longer than its kind should take; given with Interrupted

	output  string  // of another tool that did the work
	claimed *Tenant // a run has made it this process's already, and this is whom it is for

	expired bool // the lease has run out, by the server's clock
}

// Step is one effect of an operation.
type Step struct {
	Name       string     `json:"name"`
	State      string     `json:"state"` // started, done, failed, undoing, undone
	Error      string     `json:"error,omitempty"`
	StartedAt  time.Time  `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

// Failure is an error as the catalog keeps it.
type Failure struct {
	Code      string `json:"code"`
	Store     string `json:"store,omitempty"`
	Message   string `json:"message"` // without the tenant's name
	Statement string `json:"statement,omitempty"`
	Hint      string `json:"hint,omitempty"`
	Output    string `json:"output,omitempty"` // of another program, whole
}

// Duration is how long the operation has been worked on, to now if it is not over.
func (o *Operation) Duration() time.Duration {
	switch {
	case o.StartedAt == nil:
		return 0
	case o.FinishedAt == nil:
		return time.Since(*o.StartedAt)
	}
	return o.FinishedAt.Sub(*o.StartedAt)
}

// MarshalJSON writes the operation as scripts read it.
func (o *Operation) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID         uuid.UUID       `json:"id"`
		Kind       string          `json:"kind"`
		State      OpState         `json:"state"`
		Tenant     Name            `json:"tenant,omitempty"`
		Run        *uuid.UUID      `json:"run,omitempty"`
		Actor      string          `json:"actor"`
		Owner      string          `json:"owner"`
		DurationMS int64           `json:"duration_ms"`
		CreatedAt  time.Time       `json:"created_at"`
		FinishedAt *time.Time      `json:"finished_at"`
		Result     json.RawMessage `json:"result,omitempty"`
		Error      *Failure        `json:"error,omitempty"`
		Steps      []Step          `json:"steps,omitempty"`
		Interrupt  bool            `json:"interrupted,omitempty"`
		Slow       bool            `json:"slow,omitempty"`
	}{
		o.ID, o.Kind, o.State, o.Tenant, o.Run, o.Actor, o.Owner.Label(), o.Duration().Milliseconds(),
		o.CreatedAt, o.FinishedAt, o.Result, o.Error, o.Steps, o.Interrupted, o.Slow,
	})
}
