package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// askDjango asks the stack while its tenants change.
func (l *load) askDjango(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, l.options.django)
	defer stop()
	return l.meanwhile(ctx, func(ctx context.Context) {
		ctx, stop := context.WithTimeout(ctx, l.options.django)
		defer stop()
		l.crowd(ctx, func(ctx context.Context) {
			if l.roll(20) == 0 {
				l.spoof(ctx, &l.django, l.url, l.apps)
			} else {
				l.plain(ctx, &l.django, l.url, true)
			}
		})
	})
}

// askTrivial asks the same resolvers through the program's own nginx, until there are answers enough.
func (l *load) askTrivial(ctx context.Context) error {
	began, last := time.Now(), l.django.answers.Load()
	return l.meanwhile(ctx, func(ctx context.Context) {
		ctx, enough := context.WithCancel(ctx)
		defer enough()
		l.crowd(ctx, func(ctx context.Context) {
			if l.roll(50) == 0 {
				l.spoof(ctx, &l.trivial, l.proxy.stacked, []string{l.proxy.application})
			} else {
				l.plain(ctx, &l.trivial, l.proxy.stacked, false)
			}
			if n := l.trivial.answers.Load(); n+last >= l.answers {
				enough()
			} else if n > 0 && n%100_000 == 0 {
				fmt.Printf("  %d answers, %.0f a second\n", n, float64(n)/time.Since(began).Seconds())
			}
		})
	})
}

// paced asks for one page of a tenant so many times a second, and gives how long each took. The next does not wait for
// the one before.
func (l *load) paced(
	ctx context.Context, url string, rate int, pick func() *tenant, statuses *sync.Map,
) []time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	slots := make(chan struct{}, 32*max(1, rate/10))
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case <-tick.C:
		}
		select {
		case slots <- struct{}{}:
		default:
			continue // so many wait already
		}
		t := pick()
		all.Go(func() {
			defer func() { <-slots }()
			began := time.Now()
			got, err := ask(context.WithoutCancel(ctx), http.MethodGet, url+"/whoami", l.host(t), "")
			if err != nil {
				got.status = 0
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
			n, _ := statuses.LoadOrStore(got.status, 0)
			statuses.Store(got.status, n.(int)+1)
		})
	}
	all.Wait()
	return took
}

func p99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/1e6) }

// measureNoise asks for a quiet tenant's pages alone, beside one that sends ten times as much, and that with limits.
func (l *load) measureNoise(ctx context.Context) error {
	quiet, noisy := l.twoOpen()
	var took [3][]time.Duration
	var told [3]sync.Map
	for range l.rounds {
		for way, url := range []string{l.proxy.limited, l.proxy.unlimited, l.proxy.limited} {
			round, stop := context.WithTimeout(ctx, 2*l.round)
			var all sync.WaitGroup
			if way > 0 {
				all.Go(func() {
					l.paced(round, url, 10*l.quietest, func() *tenant { return noisy }, &told[way])
				})
			}
			var quiets sync.Map
			took[way] = append(took[way], l.paced(round, url, l.quietest, func() *tenant { return quiet }, &quiets)...)
			stop()
			all.Wait()
			quiets.Range(func(status, n any) bool {
				if status != http.StatusOK {
					shout("  the quiet tenant got %v, %v times", status, n)
				}
				return true
			})
		}
	}
	alone := p99(took[0])
	for way, name := range []string{1: "without limits", 2: "with limits"} {
		if way == 0 {
			continue
		}
		got := p99(took[way])
		l.note("p99 of a quiet tenant beside a busy one, "+name, fmt.Sprintf("%.2fx (%s and %s; the busy one got %s)",
			float64(got)/float64(alone), ms(got), ms(alone), statusText(&told[way])), "1.5x")
	}
	return ctx.Err()
}

func statusText(m *sync.Map) (text string) {
	m.Range(func(status, n any) bool {
		text += fmt.Sprintf("%vx%v ", n, status)
		return true
	})
	return text
}

func (l *load) twoOpen() (a, b *tenant) {
	for {
		if a, b = l.any(); *a.gate.Load() == open && *b.gate.Load() == open {
			return a, b
		}
	}
}

// measureMigration asks all tenants before and during a migration of the fleet.
func (l *load) measureMigration(ctx context.Context) error {
	pick := func() *tenant { t, _ := l.twoOpen(); return t }
	if err := l.addMigration(); err != nil {
		return err
	}
	var told sync.Map
	before, stop := context.WithTimeout(ctx, 4*l.round)
	first := l.paced(before, l.url, 3*l.quietest, pick, &told)
	stop()
	during, ended := context.WithCancel(ctx)
	began := time.Now()
	failed := make(chan error, 1)
	go func() {
		defer ended()
		_, err := l.tenantctl(ctx, "migrate", "--all")
		failed <- err
	}()
	second := l.paced(during, l.url, 3*l.quietest, pick, &told)
	if err := <-failed; err != nil {
		return err
	}
	l.note("p99 during a fleet migration", fmt.Sprintf("%.2fx (%s and %s; %d tenants in %s; answers %s)",
		float64(p99(second))/float64(p99(first)), ms(p99(second)), ms(p99(first)), l.count(),
		time.Since(began).Round(time.Second), statusText(&told)), "2x")
	return ctx.Err()
}
