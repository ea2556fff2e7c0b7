package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// envKilled names, for a process of TestAKilledUploadLeavesNothingThatLooksLikeABackup, the vault to write to.
const envKilled = "TENANTCTL_TEST_KILLED_VAULT"

func TestMain(m *testing.M) {
	if url := os.Getenv(envKilled); url != "" {
		writeForEver(url)
	}
	// On more processors most of the race detector's time is spent on their agreeing on its memory. It finds races on one as well.
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}

// writeForEver writes parts of a backup until it is killed, and says "written" after the first ones.
func writeForEver(url string) {
	ctx := context.Background()
	v, err := OpenVault(ctx, Config{URL: url})
	if err == nil {
		var w tenant.Archive
		if w, err = v.Create(ctx, newBackup(uuid.New()), 0); err == nil {
			for n := 0; err == nil; n++ {
				if n == 3 {
					fmt.Println("written")
				}
				err = put(w, fmt.Sprintf("postgres/data/%04d-a.sql", n), text(20<<20, uint64(n)))
			}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

func TestAKilledUploadLeavesNothingThatLooksLikeABackup(t *testing.T) {
	everywhere(t, func(t *testing.T, url string) {
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		v := open(t, Config{URL: url})
		whole := makeBackup(t, v, uuid.New(), small)
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), envKilled+"="+url)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || line != "written\n" {
			t.Fatalf("the process says %q, %v", line, err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, which is no success
		var pieces []tenant.Stored
		for _, s := range list(t, v, uuid.Nil) {
			if s.Whole != (s.ID == whole.ID) {
				t.Errorf("%+v is listed", s)
			}
			if !s.Whole {
				pieces = append(pieces, s)
			}
		}
		if len(pieces) != 1 {
			t.Fatalf("the pieces are %v, want those of the killed upload", pieces)
		}
		_, err = v.Open(t.Context(), pieces[0].Tenant, pieces[0].ID)
		if !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("to open it gives %v", err)
		}
		if err := v.Remove(t.Context(), pieces[0].Tenant, pieces[0].ID); err != nil {
			t.Fatal(err)
		}
		if left := list(t, v, uuid.Nil); len(left) != 1 || !left[0].Whole {
			t.Errorf("after its removal there are %v", left)
		}
	})
}

// line is a TCP connection to a server that can be cut, or held so that nothing moves.
type line struct {
	listener net.Listener
	server   string
	passed   atomic.Int64 // bytes, both ways
	limit    atomic.Int64 // after which it is cut or held
	hold     atomic.Bool
	mu       sync.Mutex
	conns    []net.Conn
}

func newLine(t testing.TB, server string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &line{listener: l, server: server}
	p.limit.Store(1 << 62)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.conns {
			_ = c.Close()
		}
	})
	return p
}

func (p *line) serve(c net.Conn) {
	if p.passed.Load() >= p.limit.Load() && !p.hold.Load() {
		_ = c.Close()
		return
	}
	s, err := net.Dial("tcp", p.server)
	if err != nil {
		_ = c.Close()
		return
	}
	p.mu.Lock()
	p.conns = append(p.conns, c, s)
	p.mu.Unlock()
	pass := func(to, from net.Conn) {
		buf := make([]byte, 16<<10)
		for {
			n, err := from.Read(buf)
			if p.passed.Add(int64(n)) >= p.limit.Load() {
				if p.hold.Load() {
					return // open, and silent
				}
				break
			}
			if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
				break
			}
		}
		_ = to.Close()
		_ = from.Close()
	}
	go pass(s, c)
	go pass(c, s)
}

// fail lets n more bytes pass.
func (p *line) fail(n int64, hold bool) {
	p.hold.Store(hold)
	p.limit.Store(p.passed.Load() + n)
}

func TestAStoreThatGoesAwayInMidStreamIsAnErrorInBoundedTime(t *testing.T) {
	s := tenanttest.S3(t)
	s.LetIn(t)
	direct := open(t, Config{URL: s.URL("backups")})
	for name, hold := range map[string]bool{"cut": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			way := newLine(t, s.Address)
			far := s
			far.Address = way.listener.Addr().String()
			v := open(t, Config{URL: far.URL("backups"), Silence: 2 * time.Second})
			b := makeBackup(t, v, uuid.New(), map[string][]byte{"postgres/data/0001-a.sql": text(30<<20, 1)})

			way.fail(5<<20, hold)
			start := time.Now()
			err := verify(t.Context(), v, b)
			refused(t, err, tenant.ErrUnreachable, "s3://backups/")
			if errors.Is(err, tenant.ErrDiffers) {
				t.Errorf("a store that is gone is taken for damage: %v", err)
			}

			way.fail(1<<40, hold)
			c := newBackup(b.TenantID)
			w, err := v.Create(t.Context(), c, 0)
			if err != nil {
				t.Fatal(err)
			}
			way.fail(15<<20, hold)
			for n := 0; err == nil && n < 100; n++ {
				err = put(w, fmt.Sprintf("postgres/data/%04d-a.sql", n), text(10<<20, 1))
			}
			refused(t, err, tenant.ErrUnreachable, "postgres/data/00", "s3://backups/")
			if again := w.Commit(t.Context(), c); again == nil {
				t.Error("it was committed")
			}
			w.Abandon()
			if took := time.Since(start); took > time.Minute {
				t.Errorf("it took %s", took)
			}
			for _, st := range list(t, direct, b.TenantID) {
				if st.Whole != (st.ID == b.ID) {
					t.Errorf("%+v is listed", st)
				}
				if err := direct.Remove(t.Context(), st.Tenant, st.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestAFullDiskIsAnErrorThatNamesThePart(t *testing.T) {
	// A folder on a disk that takes no more: what a process may write into one file is limited, by the shell that starts it.
	if os.Getenv("TENANTCTL_TEST_FULL_DISK") == "" {
		cmd := exec.Command("sh", "-c", `ulimit -f 20000; trap '' XFSZ; exec "$0" -test.run "^$1\$" -test.v`, os.Args[0], t.Name())
		cmd.Env = append(os.Environ(), "TENANTCTL_TEST_FULL_DISK=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	v := open(t, Config{URL: t.TempDir()})
	w, err := v.Create(t.Context(), newBackup(uuid.New()), 0)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; err == nil && n < 10; n++ {
		err = put(w, fmt.Sprintf("postgres/data/%04d-a.sql", n), text(10<<20, 1))
	}
	if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), "write postgres/data/00") || !strings.Contains(err.Error(), "file://") {
		t.Errorf("the error is %v", err)
	}
	w.Abandon()
	if left := list(t, v, uuid.Nil); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	err = v.store.failure("write it", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	if tenant.Code(err) != "disk_full" || err.Error() != "backups: write it: no space left on device" {
		t.Errorf("a full disk is %q, %v", tenant.Code(err), err)
	}
}

func TestPlacesThatCannotBeOpenedAreExplained(t *testing.T) {
	s := tenanttest.S3(t)
	s.LetIn(t)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	gone := newLine(t, s.Address)
	gone.fail(0, false)
	far := s
	far.Address = gone.listener.Addr().String()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url   string
		kind  error
		words []string
	}{
		{"", tenant.ErrInvalid, []string{"empty"}},
		{"ftp://example.com/x", tenant.ErrInvalid, []string{"unknown scheme ftp"}},
		{"mem://", tenant.ErrInvalid, []string{"unknown scheme mem"}},
		{"s3://", tenant.ErrInvalid, []string{"names no bucket"}},
		{"s3://x\x7f?password=hidden", tenant.ErrInvalid, nil},
		{"s3://user:hidden@bucket", tenant.ErrInvalid, nil},
		{"file://srv/backups", tenant.ErrInvalid, []string{"names the server srv"}},
		{"file:///tmp?mode=hidden", tenant.ErrInvalid, []string{"no option mode"}},
		{"file://", tenant.ErrInvalid, []string{"names no folder"}},
		{file, tenant.ErrInvalid, []string{file, "not a folder"}},
		{filepath.Join(t.TempDir(), "a", "b"), tenant.ErrMissing, []string{"neither"}},
		{s.URL("nobody"), tenant.ErrMissing, []string{"s3://nobody", "no such bucket"}},
		{s.URL("backups") + "&unheard=hidden", tenant.ErrInvalid, []string{"s3://backups"}},
		{far.URL("backups"), tenant.ErrUnreachable, []string{"s3://backups"}},
		{"gs://bucket", tenant.ErrRights, []string{"gs://bucket", "credentials"}},
	} {
		_, err := OpenVault(t.Context(), Config{URL: c.url})
		refused(t, err, c.kind, c.words...)
		if strings.Contains(err.Error(), "hidden") {
			t.Errorf("%v shows what may be secret", err)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	_, err := OpenVault(t.Context(), Config{URL: s.URL("backups")})
	refused(t, err, tenant.ErrRights, "SignatureDoesNotMatch")
	t.Setenv("AWS_ACCESS_KEY_ID", "nobody")
	_, err = OpenVault(t.Context(), Config{URL: s.URL("backups")})
	refused(t, err, tenant.ErrRights, "s3://backups")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	_, err = OpenVault(t.Context(), Config{URL: s.URL("backups")})
	refused(t, err, tenant.ErrRights, "no credentials")
}

func TestAFolderIsNamedInEachOfItsForms(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	for url, want := range map[string]string{
		"one": "one", "./two": "two", filepath.Join(root, "three"): "three", "file://" + root + "/four": "four", "file://./five": "five",
		"file://localhost" + root + "/six": "six", "file://" + root + "?prefix=seven": "seven", "file://" + root + "?prefix=../../../eight": "eight",
	} {
		v := open(t, Config{URL: url})
		if v.store.dir != filepath.Join(root, want) || v.String() != "file://"+filepath.Join(root, want) {
			t.Errorf("%s is %s, %s", url, v.store.dir, v)
		}
	}
}

func TestFoldersOfABucketAreApart(t *testing.T) {
	s := tenanttest.S3(t)
	s.LetIn(t)
	one, two := open(t, Config{URL: s.URL("backups/one")}), open(t, Config{URL: s.URL("backups") + "&prefix=two/"})
	b := makeBackup(t, one, uuid.New(), small)
	if got := list(t, two, uuid.Nil); len(got) != 0 {
		t.Errorf("the other folder lists %v", got)
	}
	again, err := open(t, Config{URL: s.URL("backups") + "&prefix=one"}).Open(t.Context(), b.TenantID, b.ID)
	if err != nil || again.Location != "s3://backups/one/"+folder(b.TenantID, b.ID)+plainFile {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "backups", "one", filepath.FromSlash(folder(b.TenantID, b.ID)), plainFile)); err != nil {
		t.Error(err)
	}
	if err := two.Read(t.Context(), b, func(tenant.Part) (io.WriteCloser, error) { return nil, nil }); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("read from the other folder: %v", err)
	}
}

// The SDK warns of an answer without a checksum where it is asked to look for one.
func TestTheStoresClientWritesNothingOfItsOwn(t *testing.T) {
	amazon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := "hello"
		if r.URL.Path == "/backups" {
			text = `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>backups</Name></ListBucketResult>`
		}
		_, _ = io.WriteString(w, text) // a client that is gone hears nothing
	}))
	defer amazon.Close()
	tenanttest.S3Server{Env: []string{"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b"}}.LetIn(t)
	read, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = written
	defer func() { os.Stderr = stderr }()
	s, err := openStore(t.Context(), "s3://backups?use_path_style=true&region=us-east-1&response_checksum_validation=when_supported&endpoint="+url.QueryEscape(amazon.URL), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if text, err := s.read(t.Context(), "one", 100); err != nil || string(text) != "hello" {
		t.Errorf("%s, %v", text, err)
	}
	_ = written.Close() // what was written is in the pipe
	if said, err := io.ReadAll(read); err != nil || len(said) > 0 {
		t.Errorf("stderr: %s, %v", said, err)
	}
}

// Google's driver takes what the credentials do not allow for absent; here it is told as what it is: a backup or a key
// that may not be removed is not gone.
func TestWhatMayNotBeTouchedIsNotGone(t *testing.T) {
	var open atomic.Bool
	google := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if open.Load() && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/b/backups/o") {
			_, _ = io.WriteString(w, `{"kind": "storage#objects"}`) // a client that is gone hears nothing
			return
		}
		if open.Load() && strings.HasSuffix(r.URL.Path, identityFile) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"error": {"code": 403, "message": "not for you"}}`) // as above
	}))
	defer google.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", google.Listener.Addr().String())
	_, err := OpenVault(t.Context(), Config{URL: "gs://backups"})
	refused(t, err, tenant.ErrRights, "open gs://backups", "not for you")
	open.Store(true)
	v, err := OpenVault(t.Context(), Config{URL: "gs://backups"})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	whose, id := uuid.New(), uuid.New()
	refused(t, v.Remove(t.Context(), whose, id), tenant.ErrRights, "remove gs://backups/")
	_, err = v.DropKey(t.Context(), whose)
	refused(t, err, tenant.ErrRights)
	_, err = v.Open(t.Context(), whose, id)
	refused(t, err, tenant.ErrRights, "read gs://backups/")
	if _, err := v.store.exists(t.Context(), "x"); !errors.Is(err, tenant.ErrRights) {
		t.Errorf("whether it is there: %v", err)
	}
}
