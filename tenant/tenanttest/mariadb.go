package tenanttest

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	mariaPassword = "legacy-secret"
	installMaria  = "install it: apt-get install -y --no-install-recommends mariadb-server"
)

// MariaDB starts a MariaDB server of this test's own with an empty database, and returns its URL, mysql://..., of a user
// with every right. It is gone at the end, and also where the test is killed.
func MariaDB(t testing.TB) string {
	t.Helper()
	server, install := mariaProgram(t, "mariadbd"), mariaProgram(t, "mariadb-install-db")
	// Not t.TempDir: another user could not look into it.
	dir, err := os.MkdirTemp("", "mariadb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	initial := filepath.Join(dir, "init.sql")
	sql := fmt.Sprintf("CREATE USER legacy@'127.0.0.1' IDENTIFIED BY '%s';\nGRANT ALL ON *.* TO legacy@'127.0.0.1' WITH GRANT OPTION;\nCREATE DATABASE legacy CHARACTER SET utf8mb4;\n", mariaPassword)
	if err := os.WriteFile(initial, []byte(sql), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"--no-defaults", "--datadir=" + filepath.Join(dir, "data")}
	if os.Geteuid() == 0 {
		args = append(args, "--user="+giveToServer(t, dir))
	}
	cmd := exec.Command(install, append(args, "--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("set MariaDB up: %v\n%s", err, out)
	}
	args = append(args, "--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin", "--socket="+filepath.Join(dir, "socket"), "--pid-file="+filepath.Join(dir, "pid"),
		"--innodb-log-file-size=8M", "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0", "--max-allowed-packet=64M", "--init-file="+initial)
	var log string
	for range 3 {
		address := freeAddress(t)
		if log = startMaria(t, server, append(args, "--port="+strconv.Itoa(address.Port)), address); log == "" {
			u := url.URL{Scheme: "mysql", User: url.UserPassword("legacy", mariaPassword), Host: address.String(), Path: "/legacy"}
			return u.String()
		}
	}
	t.Fatalf("start MariaDB: it does not answer\n%s", log)
	return ""
}

// mariaProgram finds a program that may lie where only root looks.
func mariaProgram(t testing.TB, name string) string {
	t.Helper()
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	if p, err := exec.LookPath("/usr/sbin/" + name); err == nil {
		return p
	}
	t.Fatalf("%s is missing; %s", name, installMaria)
	return ""
}

// giveToServer hands a folder to the user that the server runs as, which must not be root, and returns that user's name.
func giveToServer(t testing.TB, dir string) string {
	t.Helper()
	for _, name := range []string{"mysql", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr != nil || gidErr != nil {
			continue
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Fatal("there is no user mysql or nobody to run MariaDB as")
	return ""
}

func freeAddress(t testing.TB) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr)
}

// startMaria starts the server and waits until it greets; where it does not, its log comes back.
func startMaria(t testing.TB, server string, args []string, address *net.TCPAddr) string {
	t.Helper()
	// The server ends with the shell's input, which is this process's: however the test ends, nothing is left.
	cmd := exec.Command("sh", append([]string{"-c", `"$@" & cat >/dev/null; kill -9 $!; wait $!`, "sh", server}, args...)...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	life, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() { end(cmd, life) }
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address.String(), time.Second)
		if err != nil {
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		n, err := conn.Read(make([]byte, 1))
		_ = conn.Close()
		if n == 1 && err == nil {
			t.Cleanup(stop)
			return ""
		}
	}
	stop()
	return strings.TrimSpace(log.String()) + "\n"
}
