package cmd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// A file that cannot be written is told as itself: a store that took the error for its own would speak of its connection.
func TestAnExportNamesTheFileThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "customers.csv")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path) // to read only
	if err != nil {
		t.Fatal(err)
	}
	file := exportFile{f, "postgres/customers.csv"}
	_, err = file.Write([]byte("a"))
	var e *tenant.Error
	if !errors.As(err, &e) || e.Hint == "" || !strings.HasPrefix(e.Msg, "write postgres/customers.csv: ") || strings.Contains(e.Msg, path) || !errors.Is(err, syscall.EBADF) {
		t.Errorf("it says: %v", err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if err := file.Close(); !errors.As(err, &e) {
		t.Errorf("a file that cannot be closed: %v", err)
	}
}
