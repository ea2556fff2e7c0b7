package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestOnlyTheFirstCollectionIsPostponed(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	percent := func() int {
		now := debug.SetGCPercent(800)
		debug.SetGCPercent(now)
		return now
	}
	postponeCollection()
	if got := percent(); got != 800 {
		t.Errorf("before the first collection: got %d, want 800", got)
	}
	runtime.GC()
	for until := time.Now().Add(10 * time.Second); percent() != 100; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("after the first collection: got %d, want 100", percent())
		}
	}
}
