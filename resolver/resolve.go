package resolver

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Sources say what leads to a tenant beside its domains.
type Sources struct {
	BaseDomain string // NAME.BaseDomain is the tenant NAME; empty: no host is
	Header     string // a header that holds a tenant's name or id; trusted proxies alone may send it
	PathPrefix string // such as /t/: what follows, up to the next slash, is a tenant's name
	Claim      string // the claim of a bearer token, verified by Key, that holds a tenant's name or id
	Key        *VerifyKey
}

// Request is what a tenant is found by.
type Request struct {
	Host   string // as the client has sent it
	Scheme string // http or https; empty is https
	URI    string // path and query, as the client has sent them; empty where nobody knows
	Header string // the value of Sources.Header
	Token  string // a bearer token
}

// Answer is what a request gets.
type Answer struct {
	Status     int           `json:"status"` // 204 where the tenant serves it; else what the visitor gets
	Tenant     *Tenant       `json:"tenant,omitempty"`
	Source     string        `json:"source,omitempty"`   // domain, wildcard, base domain, header, path or claim
	Location   string        `json:"location,omitempty"` // of 307 and 308
	RetryAfter time.Duration `json:"-"`                  // of 503
	Reason     string        `json:"reason"`             // why, for the operator
	Message    string        `json:"message,omitempty"`  // for the visitor
	Host       string        `json:"host,omitempty"`     // the host as it was understood

	route *route
}

// vote is what one source says of a request.
type vote struct {
	source string
	route  *route
	move   string // the host that the tenant is to be asked by instead
	path   string // the URI that it is to be asked by instead
	status int    // of the move
}

// movingRetry is when a visitor of a tenant that is being moved may try again.
const movingRetry = 5 * time.Second

func refused(status int, reason string) Answer { return Answer{Status: status, Reason: reason} }

// resolve finds the tenant of a request in a snapshot.
func (s *snapshot) resolve(q Request, from Sources, now time.Time) Answer {
	host, port, err := ParseHost(q.Host)
	if err != nil {
		return refused(http.StatusBadRequest, err.Error())
	}
	votes, refusal := s.votes(q, host, from, now)
	switch {
	case refusal != nil:
		refusal.Host = host
		return *refusal
	case len(votes) == 0:
		return Answer{Status: http.StatusNotFound, Host: host, Reason: s.unknown(host)}
	}
	v := votes[0]
	for _, other := range votes[1:] {
		if other.route.ID != v.route.ID {
			return Answer{
				Status: http.StatusMisdirectedRequest,
				Host:   host,
				Reason: "the " + v.source + " leads to tenant " + v.route.Name +
					" and the " + other.source + " to tenant " + other.route.Name,
			}
		}
		if v.status == 0 {
			v.move, v.path, v.status = other.move, other.path, other.status
		}
	}
	a := v.route.answer()
	a.Source, a.Host = v.source, host
	if a.Status == http.StatusNoContent && v.status != 0 {
		a.redirect(q, v, host, port)
	}
	return a
}

// votes asks every source. A source that names a tenant that is not there refuses the request, whatever the others
// say.
func (s *snapshot) votes(q Request, host string, from Sources, now time.Time) ([]vote, *Answer) {
	var votes []vote
	if d, ok := s.domainOf(host); ok && d.verified {
		v := vote{source: "domain", route: d.route}
		if strings.HasPrefix(d.name, "*.") {
			v.source = "wildcard"
		}
		if d.serves == "redirect" && d.canonical != "" {
			v.move, v.status = d.canonical, http.StatusPermanentRedirect
		}
		votes = append(votes, v)
	}
	ask := func(source, name string) *Answer {
		r, former, ok := s.named(name)
		if !ok && (source == "header" || source == "claim") {
			r, ok = s.byID.get(name)
		}
		switch {
		case !ok:
			return &Answer{Status: http.StatusNotFound, Source: source, Reason: "the " + source + " names no tenant"}
		case former && source != "base domain" && source != "path":
			return &Answer{
				Status: http.StatusNotFound,
				Source: source,
				Reason: "the " + source + " names a tenant that was renamed to " + r.Name,
			}
		}
		v := vote{source: source, route: r}
		if former && source == "base domain" {
			v.move, v.status = r.Name+"."+from.BaseDomain, http.StatusTemporaryRedirect
		} else if former {
			v.path, v.status = from.PathPrefix+r.Name+q.URI[len(from.PathPrefix)+len(name):], http.StatusTemporaryRedirect
		}
		votes = append(votes, v)
		return nil
	}
	if name, ok := below(host, from.BaseDomain); ok {
		if refusal := ask("base domain", name); refusal != nil && len(votes) == 0 {
			return nil, refusal
		}
	}
	if from.Header != "" && q.Header != "" {
		if refusal := ask("header", q.Header); refusal != nil {
			return nil, refusal
		}
	}
	if from.PathPrefix != "" && strings.HasPrefix(q.URI, from.PathPrefix) {
		name, problem := pathName(q.URI, from.PathPrefix)
		if problem != "" {
			return nil, &Answer{Status: http.StatusBadRequest, Source: "path", Reason: "bad path: " + problem}
		}
		if refusal := ask("path", name); refusal != nil {
			return nil, refusal
		}
	}
	if from.Claim != "" && q.Token != "" {
		name, err := from.Key.claim(q.Token, from.Claim, now)
		if err != nil {
			return nil, &Answer{Status: http.StatusUnauthorized, Source: "claim", Reason: err.Error()}
		}
		if refusal := ask("claim", name); refusal != nil {
			return nil, refusal
		}
	}
	return votes, nil
}

// below gives the one label before the base domain.
func below(host, base string) (string, bool) {
	if base == "" || !strings.HasSuffix(host, base) || len(host) < len(base)+2 || host[len(host)-len(base)-1] != '.' {
		return "", false
	}
	name := host[:len(host)-len(base)-1]
	return name, !strings.Contains(name, ".")
}

// pathName is the tenant's name in a path. A path that servers may read in different ways has none.
func pathName(uri, prefix string) (name, problem string) {
	path, _, _ := strings.Cut(uri, "?")
	name, rest, _ := strings.Cut(path[len(prefix):], "/")
	if name == "" {
		return "", "it names no tenant"
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return "", "it names no tenant"
		}
	}
	lower := strings.ToLower(rest)
	if strings.Contains(lower, "%2f") || strings.Contains(lower, "%5c") || strings.ContainsAny(lower, "\\\x00") {
		return "", "it has an escaped slash or a backslash"
	}
	for _, segment := range strings.Split(strings.ReplaceAll(lower, "%2e", "."), "/") {
		if segment == "." || segment == ".." {
			return "", "it has a segment . or .."
		}
	}
	return name, ""
}

// unknown says why nobody's host is nobody's.
func (s *snapshot) unknown(host string) string {
	if d, ok := s.domainOf(host); ok {
		return "the domain " + d.name + " of tenant " + d.route.Name + " is not verified"
	}
	return "no tenant has this host"
}

// answer is what the tenant's gate lets through.
func (r *route) answer() Answer {
	a := Answer{Tenant: &r.Tenant, route: r}
	switch {
	case r.Gate == Open:
		a.Status, a.Reason = http.StatusNoContent, "the tenant is open"
	case r.Gate == Moving:
		a.Status, a.RetryAfter, a.Message = http.StatusServiceUnavailable, movingRetry, r.Reason
		a.Reason = "the tenant will be back in a moment: " + r.Reason
	case r.State == "active" || r.State == "suspended":
		a.Status, a.Message, a.Reason = http.StatusForbidden, r.Reason, "the tenant is "+r.State+" and its gate is "+string(
			r.Gate,
		)
		if r.Reason != "" {
			a.Reason += ": " + r.Reason
		}
	default:
		a.Status, a.Reason = http.StatusNotFound, "the tenant is "+r.State
	}
	return a
}

// redirect sends a request to the host or path that the tenant is asked by.
func (a *Answer) redirect(q Request, v vote, host, port string) {
	uri := q.URI
	if v.path != "" {
		uri = v.path
	}
	if v.move != "" {
		host = v.move
	}
	if !strings.HasPrefix(uri, "/") || strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		uri = "/"
	}
	scheme := "https"
	if q.Scheme == "http" {
		scheme = "http"
	}
	if port != "" {
		host += ":" + port
	}
	a.Status, a.Location = v.status, scheme+"://"+host+uri
	a.Reason = "the tenant was renamed"
	if v.status == http.StatusPermanentRedirect {
		a.Reason = "the domain redirects to the tenant's canonical one"
	}
}

// certifiable tells whether a certificate may be had for a host: a verified domain, or a tenant's name below the
// base domain. Hosts below a wildcard are not: there is no end of them.
func (s *snapshot) certifiable(name string, from Sources) Answer {
	host, port, err := ParseHost(name)
	if err != nil || port != "" {
		return refused(http.StatusBadRequest, "it is no host name")
	}
	r, source := (*route)(nil), "domain"
	if d, ok := s.byHost.get(host); ok && d.verified {
		r = d.route
	} else if label, ok := below(host, from.BaseDomain); ok {
		if found, _, ok := s.named(label); ok {
			r, source = found, "base domain"
		}
	}
	if r == nil {
		return Answer{Status: http.StatusNotFound, Host: host, Reason: s.unknown(host)}
	}
	if a := r.answer(); a.Status == http.StatusNotFound {
		return a
	}
	return Answer{
		Status: http.StatusOK,
		Host:   host,
		Tenant: &r.Tenant,
		Source: source,
		Reason: "the host is a tenant's",
	}
}

// seconds is d for a header, rounded up.
func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }
