package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// measureProxies compares the ways to find a tenant with plain proxying, in turns.
func (l *load) measureProxies(ctx context.Context) error {
	ways := []struct {
		name, url, path string
		tenants         int
	}{
		{"plain", l.proxy.plain, "/open", l.large},
		{"auth_request", l.proxy.asked, "/open", l.large},
		{"auth_request, cached for 1 s", l.proxy.cached, "/open", l.large},
		{"auth_request, cached, of 10 tenants", l.proxy.cached, "/open", 10},
		{"map", l.proxy.mapped, "/open", l.large},
		{"10 tenants", l.proxy.few, "/whoami", 10},
		{"many tenants", l.proxy.asked, "/whoami", l.large},
	}
	rates := make([][]float64, len(ways))
	for range l.rounds {
		for i, w := range ways {
			rate, err := l.rate(ctx, w.url+w.path, w.tenants)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			rates[i] = append(rates[i], rate)
		}
	}
	middle := func(i int) float64 {
		slices.Sort(rates[i])
		return rates[i][len(rates[i])/2]
	}
	for i, goal := range []string{"", "0.45x", "0.75x", "0.75x", "0.95x"} {
		if i > 0 {
			l.note("nginx with "+ways[i].name+" against plain proxying",
				fmt.Sprintf("%.2fx (%.0f and %.0f a second)", middle(i)/middle(0), middle(i), middle(0)), goal)
		}
	}
	l.note(fmt.Sprintf("throughput of %d tenants against 10", l.large),
		fmt.Sprintf("%.2fx (%.0f and %.0f a second)", middle(6)/middle(5), middle(6), middle(5)), "0.8x")
	return ctx.Err()
}

// rate is how many answers a second come for random tenants.
func (l *load) rate(ctx context.Context, url string, tenants int) (float64, error) {
	round, stop := context.WithTimeout(ctx, l.round)
	defer stop()
	var n, failed atomic.Int64
	began := time.Now()
	l.crowd(round, func(context.Context) {
		i := l.roll(tenants)
		got, err := ask(context.WithoutCancel(ctx), http.MethodGet, url, servedHost(i), "")
		switch {
		case err != nil || !got.served():
			failed.Add(1)
		case strings.HasSuffix(url, "/whoami") && got.body.Tenant != "t"+strconv.Itoa(i):
			l.trivial.wrong.Add(1)
			shout("WRONG TENANT: %s: %+v", servedHost(i), got)
		default:
			n.Add(1)
		}
	})
	if failed.Load() > 0 {
		return 0, fmt.Errorf("%d of %d failed: %w", failed.Load(), n.Load()+failed.Load(), errDiffers)
	}
	return float64(n.Load()) / time.Since(began).Seconds(), nil
}

// measureDeaths kills one application and one resolver with all their processes, while the stack is asked.
func (l *load) measureDeaths(ctx context.Context) error {
	before, failed := l.django.answers.Load(), l.django.failed.Load()
	ctx, stop := context.WithTimeout(ctx, 6*l.round)
	defer stop()
	var all sync.WaitGroup
	var err error
	all.Go(func() {
		for i, variable := range []string{"STACK_RESOLVER_PIDS", "STACK_APP_PIDS"} {
			time.Sleep(l.round)
			pids := strings.Fields(os.Getenv(variable))
			if len(pids) < 2 {
				err = fmt.Errorf("%s names %d: give run.sh --resolvers 2", variable, len(pids))
				return
			}
			pid, wrong := strconv.Atoi(pids[i%len(pids)])
			if wrong != nil || syscall.Kill(-pid, syscall.SIGKILL) != nil {
				err = fmt.Errorf("%s: %s could not be killed", variable, pids[i%len(pids)])
				return
			}
		}
	})
	l.crowd(ctx, func(ctx context.Context) { l.plain(ctx, &l.django, l.url, true) })
	all.Wait()
	n, bad := l.django.answers.Load()-before, l.django.failed.Load()-failed
	l.note("errors while a resolver and a gunicorn were killed",
		fmt.Sprintf("%.3f %% (%d of %d)", 100*float64(bad)/float64(max(1, n)), bad, n), "0.1 %")
	return err
}
