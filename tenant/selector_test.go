package tenant_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestSelectorsMatch(t *testing.T) {
	labels := map[string]string{"plan": "pro", "region": "eu"}
	for s, want := range map[string]bool{
		"": true, "plan=pro": true, "plan==pro": true, "plan=free": false, "plan!=free": true, "plan!=pro": false, "tier!=1": true,
		"plan in (free, pro)": true, "plan in (free)": false, "plan notin (free)": true, "tier notin (1)": true, "plan": true, "tier": false,
		"!tier": true, "! plan": false, "plan=pro,region=eu": true, "plan=pro, region=us": false, "plan in (pro,free),region in (eu,us)": true, "tier=": false,
	} {
		sel, err := tenant.ParseSelector(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
		} else if got := sel.Matches(labels); got != want {
			t.Errorf("%q matches: %v, want %v", s, got, want)
		}
	}
}

func TestBadSelectorsAreRefused(t *testing.T) {
	for _, s := range []string{"=", "=pro", "plan=pro,", ",", "plan in", "plan in (", "plan in (a", "plan in (a))", "plan has (a)", "plan=a b", "plan!pro", "!plan=pro", "pl an=pro", "plan=(a)", "!", "a=b=c"} {
		if sel, err := tenant.ParseSelector(s); !errors.Is(err, tenant.ErrInvalid) {
			t.Errorf("%q is taken as %q (%v)", s, sel, err)
		}
	}
}

func FuzzSelector(f *testing.F) {
	for _, s := range []string{"a=b", "a!=b", "a in (b,c)", "a notin (b)", "a", "!a", "a=b,c=d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sel, err := tenant.ParseSelector(s)
		if err != nil {
			return
		}
		again, err := tenant.ParseSelector(sel.String())
		if err != nil || !reflect.DeepEqual(sel, again) {
			t.Errorf("%q is %q, and that is %q (%v)", s, sel, again, err)
		}
	})
}

func TestShardsStatesAndBudgetsAreChecked(t *testing.T) {
	for s, ok := range map[string]bool{"": true, "1/1": true, "2/4": true, "0/4": false, "5/4": false, "1": false, "a/b": false, "1/0": false, "-1/2": false} {
		if _, err := tenant.ParseShard(s); (err == nil) != ok {
			t.Errorf("shard %q: %v", s, err)
		}
	}
	for s, ok := range map[string]bool{"1": true, "10": true, "5%": true, "0.5%": true, "100%": true, "0": false, "-1": false, "0%": false, "101%": false, "x": false, "": false, "NaN%": false} {
		if _, err := tenant.ParseBudget("failures", s); (err == nil) != ok {
			t.Errorf("budget %q: %v", s, err)
		}
	}
	if _, err := tenant.ParseStates([]string{"active", "gone"}); !errors.Is(err, tenant.ErrInvalid) {
		t.Errorf("state gone: %v", err)
	}
}
