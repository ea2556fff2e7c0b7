package tenant

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Selection says which tenants a command means. Conditions of different kinds all have to hold.
type Selection struct {
	Names    []Name
	All      bool // said explicitly; Empty is false then
	Selector Selector
	States   []State
	Shard    Shard

	AllowEmpty bool // a selection that matches nobody is no mistake

	failedIn uuid.UUID // only those that failed in this run
}

// Shard is part Index of Of, from 1; the zero Shard is everything. The split depends on the tenant's id alone.
type Shard struct{ Index, Of int }

// Empty tells that nobody said which tenants are meant.
func (s Selection) Empty() bool {
	return !s.All && len(s.Names) == 0 && len(s.Selector) == 0 && len(s.States) == 0 && s.Shard == Shard{} && s.failedIn == uuid.Nil
}

// Check refuses a selection that contradicts itself.
func (s Selection) Check() error {
	if len(s.Names) > 0 && (s.All || len(s.Selector) > 0 || len(s.States) > 0 || s.Shard != Shard{}) {
		return Invalid("give names, or choose by --all, --selector, --state or --shard", "names and a selection are both given")
	}
	return nil
}

// ParseShard reads I/N.
func ParseShard(s string) (Shard, error) {
	if s == "" {
		return Shard{}, nil
	}
	i, n, ok := strings.Cut(s, "/")
	index, err1 := strconv.Atoi(i)
	of, err2 := strconv.Atoi(n)
	if !ok || err1 != nil || err2 != nil || of < 1 || index < 1 || index > of {
		return Shard{}, Invalid("write it as I/N with I from 1 to N, such as 2/4", "invalid shard %s", shorten(s))
	}
	return Shard{Index: index, Of: of}, nil
}

// ParseStates reads states joined by commas.
func ParseStates(ss []string) ([]State, error) {
	var out []State
	for _, s := range ss {
		if !slices.Contains(States(), State(s)) {
			return nil, Invalid("the states are "+strings.Join(texts(States()), ", "), "unknown state %s", shorten(s))
		}
		out = append(out, State(s))
	}
	return out, nil
}

// query gathers conditions and their arguments.
type query struct {
	conds []string
	args  []any
}

func (q *query) arg(v any) string {
	q.args = append(q.args, v)
	n := "$" + strconv.Itoa(len(q.args))
	switch v.(type) {
	case string:
		return n + "::text"
	case []string:
		return n + "::text[]"
	case int:
		return n + "::bigint"
	}
	return n
}

func (q *query) and(cond string) { q.conds = append(q.conds, cond) }

func (q *query) where() string {
	if len(q.conds) == 0 {
		return "true"
	}
	return strings.Join(q.conds, " AND ")
}

func (s Selection) where(q *query) {
	if len(s.Names) > 0 {
		q.and("t.name = ANY(" + q.arg(texts(s.Names)) + ")")
	}
	if len(s.States) > 0 {
		q.and("t.state = ANY(" + q.arg(texts(s.States)) + ")")
	}
	if s.Shard.Of > 1 {
		// The last 60 bits of a UUIDv7 are random.
		q.and(fmt.Sprintf("('x' || right(replace(t.id::text, '-', ''), 15))::bit(60)::bigint %% %s = %s", q.arg(s.Shard.Of), q.arg(s.Shard.Index-1)))
	}
	if s.failedIn != uuid.Nil {
		q.and("t.id IN (SELECT o.tenant_id FROM tenantctl.operations o WHERE o.state = 'failed' AND o.parent_id = " + q.arg(s.failedIn) + ")")
	}
	s.Selector.where(q)
}

func texts[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = string(v)
	}
	return out
}
