package tenant

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/uuid"
)

// Process names one run of the program, so that another can tell who holds an operation and whether it still lives.
type Process struct {
	Host string
	Boot string // tells two machines, boots or containers of one host name apart; empty where the system does not say
	PID  int
	Run  string // tells two processes of one PID apart

	// Catalog is the version of the catalog that the program knows; 0 of programs that told none.
	Catalog int64
}

// ThisProcess is the process that calls it.
func ThisProcess() Process {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	version, err := CatalogVersion()
	if err != nil {
		panic("the program's own migrations cannot be listed: " + err.Error())
	}
	return Process{Host: host, Boot: boot(), PID: os.Getpid(), Run: uuid.NewString()[:8], Catalog: version}
}

func boot() string {
	if runtime.GOOS == "darwin" {
		return "darwin" // no containers share its processes' numbers
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))[:8] + space
}

// String is the form that the catalog keeps.
func (p Process) String() string {
	return strings.Join([]string{p.Host, p.Boot, strconv.Itoa(p.PID), p.Run, strconv.FormatInt(p.Catalog, 10)}, "|")
}

// Label is the form for people.
func (p Process) Label() string {
	return fmt.Sprintf("pid %d on %s", p.PID, p.Host)
}

func parseProcess(s string) Process {
	f := strings.Split(s, "|")
	if len(f) != 4 && len(f) != 5 { // without a version before there was one
		return Process{Host: s}
	}
	pid, err := strconv.Atoi(f[2])
	if err != nil {
		return Process{Host: s}
	}
	p := Process{Host: f[0], Boot: f[1], PID: pid, Run: f[3]}
	if len(f) == 5 {
		p.Catalog, _ = strconv.ParseInt(f[4], 10, 64) // what is none is an older program's
	}
	return p
}

// gone tells whether other has certainly ended: it ran on this very machine and no process has its PID.
func (p Process) gone(other Process) bool {
	if p.Host != other.Host || p.Boot != other.Boot || p.Boot == "" || other.PID <= 0 {
		return false
	}
	proc, err := os.FindProcess(other.PID)
	if err != nil {
		return true
	}
	err = proc.Signal(syscall.Signal(0))
	return errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH)
}

// OSUser is the name of the person who runs the program.
func OSUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}
