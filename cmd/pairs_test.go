package cmd_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// secondVerbs are run while another command is held in its midst.
var secondVerbs = [][]string{
	{"suspend", "NAME"}, {"delete", "NAME", "--no-backup", "--yes"}, {"undelete", "NAME"}, {"rename", "NAME", "NAMEx"},
}

// heldPair is a command that is held at a point while another runs on the same tenant.
type heldPair struct {
	f      *faultTest
	point  string
	second []string
	name   string
}

// What tenant/ shows for every pair of verbs and every point with stores in memory holds on real servers: the command that is held
// comes out as if it had been alone, and the other is refused; or the two come out as one after the other. A few pairs are held at
// their middle; TENANTCTL_TEST_PAIRS=all takes every point.
func TestPairsOfVerbsOnRealServersComeOutAsOneAfterTheOther(t *testing.T) {
	b := newBench(t)
	b.keepUsers(t)
	b.must(t, "init")
	var all []heldPair
	for _, c := range faultCases {
		if !slices.Contains([]string{"suspend", "resume", "delete", "undelete", "purge"}, c.name) {
			continue
		}
		f := &faultTest{faultCase: c, bench: b}
		f.prepare(t, fault{name: "r" + c.name})
		f.trace = f.traced(t, "", 0, f.command("r"+c.name))
		f.after = f.state(t, "r"+c.name)
		points := f.trace[len(f.trace)/2 : len(f.trace)/2+1]
		if os.Getenv("TENANTCTL_TEST_PAIRS") == "all" {
			points = f.trace
		}
		for i, point := range points {
			for j, second := range secondVerbs {
				all = append(all, heldPair{f, point, second, "h" + c.name + string(rune('a'+i)) + string(rune('a'+j))})
			}
		}
	}
	var pool errgroup.Group
	pool.SetLimit(trials)
	for _, p := range all {
		pool.Go(func() error {
			p.try(t)
			return nil
		})
	}
	_ = pool.Wait() // nobody gives an error
	t.Logf("%d pairs", len(all))
	if len(all) < 20 {
		t.Error("these are too few: checkpoints got lost")
	}
}

func (p heldPair) try(t *testing.T) {
	p.f.prepare(t, fault{name: p.name})
	first := p.f.start(t, "stop@"+p.point, p.f.command(p.name)...)
	first.stopped()
	second := p.f.run(t, named(p.second, p.name)...)
	first.goOn()
	end := first.wait()
	state := p.f.state(t, p.name)
	if end.code == 0 && second.code == 5 && differences(p.f.after, state) == "" {
		return
	}
	for _, order := range [][2][]string{{p.f.command(p.name + "s"), named(p.second, p.name+"s")}, {named(p.second, p.name+"t"), p.f.command(p.name + "t")}} {
		name := p.name + map[bool]string{true: "t", false: "s"}[slices.Contains(order[0], p.name+"t")]
		p.f.prepare(t, fault{name: name})
		codes := []int{p.f.run(t, order[0]...).code, p.f.run(t, order[1]...).code}
		if strings.HasSuffix(name, "t") {
			slices.Reverse(codes)
		}
		if codes[0] == end.code && codes[1] == second.code && differences(p.f.state(t, name), state) == "" {
			return
		}
	}
	t.Errorf("%s held at %s while %v runs: the first: %s\nthe second: %s\nthe tenant is\n%s", p.f.name, p.point, p.second, end, second, strings.Join(state, "\n"))
}
