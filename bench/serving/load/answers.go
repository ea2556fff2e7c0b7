package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// counts are of the answers of one application.
type counts struct {
	answers, wrong, spoofed, honoured, shut, late, failed atomic.Int64
}

// answer is what came back, from wherever.
type answer struct {
	status int
	tenant string // by the header
	body   struct {
		Tenant       string `json:"tenant"`
		Marker       string `json:"marker"`
		MongoMarker  string `json:"mongo_marker"`
		RedisMarker  string `json:"redis_marker"`
		SearchPath   string `json:"search_path"`
		has, decoded bool
	}
}

var client = &http.Client{
	Timeout: 30 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
	Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxIdleConns: 1024, IdleConnTimeout: 20 * time.Second},
}

// ask sends one request, with headers in pairs.
func ask(ctx context.Context, method, url, host, body string, headers ...string) (answer, error) {
	q, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	q.Host = host
	q.Header.Set("Accept", "application/json")
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		q.Header.Add(headers[i], headers[i+1])
	}
	got, err := client.Do(q)
	if err != nil {
		return answer{}, err
	}
	return read(got, strings.HasSuffix(url, "/whoami"))
}

func read(got *http.Response, whole bool) (a answer, err error) {
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return a, err
	}
	a.status, a.tenant = got.StatusCode, got.Header.Get("X-App-Tenant")
	if whole && a.status == http.StatusOK {
		a.body.has = true
		a.body.decoded = json.Unmarshal(text, &a.body) == nil
	}
	return a, nil
}

// raw sends lines as they are.
func raw(address, lines string) (answer, error) {
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(address, "http://"), 5*time.Second)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second)) // of a connection that is open
	if _, err := io.WriteString(conn, strings.ReplaceAll(lines, "\n", "\r\n")); err != nil {
		return answer{}, err
	}
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answer{}, err
	}
	return read(got, strings.Contains(lines, "/whoami "))
}

// of tells whether a served answer is a tenant's by everything in it.
func (a answer) of(t *tenant) bool {
	if a.tenant != t.name {
		return false
	}
	return !a.body.has || a.body.decoded && a.body.Tenant == t.name &&
		a.body.Marker == t.id && a.body.MongoMarker == t.id && a.body.RedisMarker == t.id
}

func (a answer) served() bool { return a.status >= 200 && a.status < 300 }

// plain sends one of the requests that visitors send, and judges the answer.
func (l *load) plain(ctx context.Context, c *counts, url string, posts bool) {
	t, _ := l.any()
	method, path, body := http.MethodGet, "/whoami", ""
	if posts {
		switch l.roll(10) {
		case 0, 1:
			path = "/"
		case 2:
			method, path, body = http.MethodPost, "/orders/", `{"customer": "`+t.name+`", "item": "tea", "amount_cents": 100}`
		case 3:
			method, path, body = http.MethodPost, "/notes/", `{"text": "`+t.name+`"}`
		case 4:
			path = "/orders/"
		}
	}
	before := t.gate.Load()
	got, err := ask(ctx, method, url+path, l.host(t), body)
	if ctx.Err() != nil {
		return
	}
	after := t.gate.Load()
	c.answers.Add(1)
	if *before == shut && after == before {
		c.shut.Add(1)
	}
	switch {
	case err != nil:
		if *before == open && after == before {
			c.fail("%s %s%s: %v", method, t.name, path, err)
		}
	case got.served() && !got.of(t):
		c.wrong.Add(1)
		shout("WRONG TENANT: %s %s%s: %+v, but it is %s", method, t.name, path, got, t.id)
	case got.served() && *before == shut && after == before:
		c.late.Add(1)
		shout("LATE: %s %s%s: %+v", method, t.name, path, got)
	case !got.served() && *before == open && after == before:
		c.fail("%s %s%s: %d", method, t.name, path, got.status)
	}
}

// fail counts an error, and shows the first.
func (c *counts) fail(format string, args ...any) {
	if c.failed.Add(1) <= 10 {
		shout("  error: "+format, args...)
	}
}

func shout(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// crowd has several clients work until the time is over or enough was done.
func (l *load) crowd(ctx context.Context, work func(context.Context)) {
	var all sync.WaitGroup
	for range l.clients {
		all.Go(func() {
			for ctx.Err() == nil {
				work(ctx)
			}
		})
	}
	all.Wait()
}
