package tenant

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Options are what a Service needs to know beside its catalog and stores.
type Options struct {
	Naming      Naming
	Keep        time.Duration // how long the history of ended operations is kept; 0 keeps all
	MaxParallel int           // no fleet run works on more tenants at once, whatever is asked for; 0 for no limit
	Log         *slog.Logger
	Events      func(Event)  // progress, called from many goroutines; may be nil
	Warn        func(string) // takes what a person must not miss, from many goroutines; may be nil

	Vault       func(context.Context) (Vault, error) // opens the place of backups, when one is needed; nil where there is none
	KeepDeleted time.Duration                        // how long a deleted tenant can be undeleted
	Tool        string                               // version of the program, for manifests

	ResolverWait time.Duration // how long an operation that locks a tenant waits for resolvers; 0 for a time that is enough
}

// Service is every use case, one method each. The command line and any other front end call it alike.
type Service struct {
	catalog   *Catalog
	resources []Resource // in the order they are made; dropped in reverse
	Options
	log *slog.Logger

	opening sync.Mutex
	opened  Vault

	beating sync.Once
	stop    context.CancelFunc
	alive   context.Context
}

// NewService puts a catalog and the stores' resources together. Close ends it.
func NewService(c *Catalog, resources []Resource, o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if c != nil {
		c.log = o.Log
	}
	alive, stop := context.WithCancel(context.Background())
	return &Service{catalog: c, resources: resources, Options: o, log: o.Log, alive: alive, stop: stop}
}

// Close stops the heartbeat; what is still held runs out with its lease.
func (s *Service) Close() { s.stop() }

// Event is a moment in the work on a tenant, for progress.
type Event struct {
	Operation *Operation
	Step      string // a step of the operation begins; empty at its end, and where all is undone
	Position  int    // of the step, from 1
	Of        int
	Undo      bool  // the step is being taken back
	Begin     bool  // the tenant's part in a run begins
	End       bool  // the tenant's part in a run is over
	Changed   bool  // at the end: something was changed
	Err       error // at the end: what went wrong
	Done      int   // of Total, how many are over
	Total     int   // tenants that this run works on

	Note string // instead of all that: a line about the run as a whole

	Look *Look // instead of all that: how far the operation is, a fleet run that another process works on
}

func (s *Service) emit(e Event) {
	if s.Events != nil {
		s.Events(e)
	}
}

// silentKey marks the context of work whose steps are noise: one of many tenants'.
type silentKey struct{}

func silently(ctx context.Context) context.Context { return context.WithValue(ctx, silentKey{}, true) }

// emitStep tells of a step, unless it is one of many tenants'.
func (s *Service) emitStep(ctx context.Context, e Event) {
	if ctx.Value(silentKey{}) == nil {
		s.emit(e)
	}
}

func (s *Service) warn(text string) {
	if s.Warn != nil {
		s.Warn(text)
	}
}

// begin enters an operation and keeps its lease alive. errAgain asks to look anew and to begin again: the tenant is not what
// the intent was made of any more, or an operation of the same kind that died while it was being undone is undone now.
func (s *Service) begin(ctx context.Context, in intent) (*Operation, bool, error) {
	s.beat()
	op, resumed, err := s.catalog.begin(ctx, in)
	if errors.Is(err, errChanged) {
		return nil, false, again(in.tenant.Name)
	}
	if err == nil && resumed && op.State == OpUndoing {
		if err := s.resumeOperation(ctx, op); err != nil {
			return nil, false, err
		}
		return nil, false, again(in.tenant.Name)
	}
	return op, resumed, err
}

// errAgain marks that what was looked at has changed: most verbs look again by themselves.
var errAgain = errors.New("begin again")

func again(name Name) error {
	return &Error{Kind: ErrBusy, Tenant: name, Msg: "was changed by another process meanwhile", Hint: "run the same command again", Err: errAgain}
}

func (s *Service) beat() {
	s.beating.Do(func() { go s.catalog.heartbeat(s.alive) })
}

// reverse gives the resources in the order they are dropped.
func (s *Service) reverse() []Resource {
	out := make([]Resource, 0, len(s.resources))
	for i := len(s.resources) - 1; i >= 0; i-- {
		out = append(out, s.resources[i])
	}
	return out
}

// each gives the resources that also are a T, such as a Migrator.
func each[T Resource](s *Service) []T {
	var out []T
	for _, r := range s.resources {
		if t, ok := r.(T); ok {
			out = append(out, t)
		}
	}
	return out
}
