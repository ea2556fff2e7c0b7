package cmd

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tenantctl/tenantctl/resolver"
)

// resolverMetrics counts for Prometheus. No tenant is a label: there may be a million.
func resolverMetrics(r *resolver.Resolver) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &resolverCollector{r},
	)
	return registry
}

type resolverCollector struct{ r *resolver.Resolver }

var (
	descAnswers  = prometheus.NewDesc("tenantctl_resolver_answers_total", "Answers, by HTTP status.", []string{"status"}, nil)
	descTenants  = prometheus.NewDesc("tenantctl_resolver_tenants", "Tenants that are known.", nil, nil)
	descStale    = prometheus.NewDesc("tenantctl_resolver_stale_seconds", "Time since the catalog was read.", nil, nil)
	descReady    = prometheus.NewDesc("tenantctl_resolver_ready", "1 where requests are answered.", nil, nil)
	descLoads    = prometheus.NewDesc("tenantctl_resolver_loads_total", "Readings of all tenants.", nil, nil)
	descChanges  = prometheus.NewDesc("tenantctl_resolver_changes_total", "Changes of tenants that were read.", nil, nil)
	descFailures = prometheus.NewDesc("tenantctl_resolver_failures_total", "Readings of the catalog that failed.", nil, nil)
)

// Describe is prometheus.Collector's.
func (c *resolverCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descAnswers, descTenants, descStale, descReady, descLoads, descChanges, descFailures} {
		to <- d
	}
}

// Collect is prometheus.Collector's.
func (c *resolverCollector) Collect(to chan<- prometheus.Metric) {
	s := c.r.Stats()
	one := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	for status, n := range s.Answers {
		one(descAnswers, prometheus.CounterValue, float64(n), strconv.Itoa(status))
	}
	ready := 0.0
	if c.r.Fresh() {
		ready = 1
	}
	one(descReady, prometheus.GaugeValue, ready)
	one(descTenants, prometheus.GaugeValue, float64(s.Tenants))
	one(descStale, prometheus.GaugeValue, s.Stale.Seconds())
	one(descLoads, prometheus.CounterValue, float64(s.Loads))
	one(descChanges, prometheus.CounterValue, float64(s.Changes))
	one(descFailures, prometheus.CounterValue, float64(s.Failures))
}
