package archive

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// peakMemory is by how much the heap grew at most while f ran, with what the collector had not yet taken back.
func peakMemory(t testing.TB, f func()) int64 {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	debug.FreeOSMemory()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	read := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	before, peak := read(), int64(0)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
				peak = max(peak, read()-before)
			}
		}
	}()
	f()
	close(done)
	<-ended
	runtime.GC()
	return peak
}

func TestMemoryDoesNotGrowWithTheSizeOfABackup(t *testing.T) {
	s := tenanttest.S3(t)
	s.LetIn(t)
	const streams, each = 4, 64 << 20
	v := open(t, Config{URL: s.URL("backups")})
	// Bytes that do not compress: all of them reach the store.
	block := make([]byte, 9<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(block)
	b := newBackup(uuid.New())
	peak := peakMemory(t, func() {
		w, err := v.Create(t.Context(), b, streams*each)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abandon()
		var wg sync.WaitGroup
		for i := range streams {
			wg.Add(1)
			go func() {
				defer wg.Done()
				f, err := w.Create(fmt.Sprintf("postgres/data/%04d-a.sql", i), "a")
				for n := 0; n < each && err == nil; n += len(block) {
					_, err = f.Write(block[:min(len(block), each-n)])
				}
				if err == nil {
					err = f.End(1, 1)
				}
				if err != nil {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		if err := w.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("writing 512 MiB took %d MiB", peak>>20)
	if peak > 200<<20 {
		t.Errorf("writing 512 MiB took %d MiB of memory", peak>>20)
	}
	peak = peakMemory(t, func() {
		err := v.Read(t.Context(), b, func(tenant.Part) (io.WriteCloser, error) { return devNull{}, nil })
		if err != nil {
			t.Error(err)
		}
	})
	t.Logf("reading 512 MiB took %d MiB", peak>>20)
	if peak > 64<<20 {
		t.Errorf("reading 512 MiB took %d MiB of memory", peak>>20)
	}
}

type devNull struct{}

func (devNull) Write(p []byte) (int, error) { return len(p), nil }
func (devNull) Close() error                { return nil }
