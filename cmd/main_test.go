package cmd_test

import (
	"os"
	"testing"

	"github.com/tenantctl/tenantctl/cmd"
)

// asProgram makes the test binary be the program itself, which the scripts run.
const asProgram = "TENANTCTL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(cmd.Main())
	}
	os.Exit(m.Run())
}
