package tenant

import (
	"context"
	"errors"
	"sync"
	"time"
)

// fanOut is the state that a run's workers share.
type fanOut struct {
	s        *Service
	run      *Operation
	ends     *ends // of work that is claimed and recorded together
	parallel int
	limit    int // failures
	todo     int // tenants that have work to do
	stop     context.CancelFunc
	asked    time.Time // when the stores were last asked whether they have enough to do

	mu      sync.Mutex
	summary Summary
	ended   int
	spent   int // failures that count against the limit
	groups  failureGroups
	lost    bool  // the run was aborted or taken over
	away    error // why the catalog could not be asked
}

// overList is a fanOut for work on n tenants that is no fleet run: nothing of it is in the catalog but the operations of each.
func (s *Service) overList(n int, budget Budget) *fanOut {
	return &fanOut{s: s, limit: budget.limit(n), todo: n, stop: func() {}, summary: Summary{Tenants: n}}
}

// list does the work with each number below todo, parallel at a time, until ctx ends or the failures are too many. What is
// in work then is finished; what it did not come to counts as not started.
func (f *fanOut) list(ctx context.Context, parallel int, do func(i int)) {
	dispatch, stop := context.WithCancel(ctx)
	defer stop()
	f.stop = stop
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range f.todo {
			select {
			case next <- i:
			case <-dispatch.Done():
				return
			}
		}
	}()
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for i := range next {
				err := f.s.safely("the work on one tenant", "", func() error {
					do(i)
					return nil
				})
				if err != nil {
					f.over(new(Operation), false, err)
				}
			}
		})
	}
	workers.Wait()
	f.summary.NotStarted = f.todo - f.ended
}

// halt starts no further tenant where the catalog does not answer: none of them is to blame.
func (f *fanOut) halt(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away == nil {
		f.away = err
	}
	f.stop()
}

// settle records what has ended, and takes back what another process had taken over by then.
func (f *fanOut) settle(ctx context.Context) {
	if f.ends == nil {
		return
	}
	taken, err := f.ends.flush(ctx)
	f.halt(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range taken {
		if x.changed {
			f.summary.Changed--
		} else {
			f.summary.Unchanged--
		}
		f.summary.Failed++
		f.groups.add(x.op.Tenant, NewFailure(takenOver(nil)))
	}
}

// begun tells that the work on one tenant begins.
func (f *fanOut) begun(child *Operation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.s.emit(Event{Operation: child, Begin: true, Done: f.ended, Total: f.todo})
}

// over takes one tenant's end into account.
func (f *fanOut) over(child *Operation, changed bool, err error) {
	var away *catalogAway
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case errors.Is(err, errRunLost):
		f.lost = true
		f.stop()
		return
	case errors.As(err, &away):
		f.away = away.error
		f.stop()
		return
	case err != nil:
		f.summary.Failed++
		f.groups.add(child.Tenant, NewFailure(err))
		// A tenant whose place is missing says nothing about the others.
		if !errors.Is(err, ErrMissing) {
			f.spent++
		}
		if f.spent >= f.limit {
			f.stop()
		}
	case changed:
		f.summary.Changed++
	default:
		f.summary.Unchanged++
	}
	f.ended++
	f.s.emit(Event{Operation: child, End: true, Changed: changed, Err: err, Done: f.ended, Total: f.todo})
}
