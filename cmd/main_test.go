package cmd_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/cmd"
)

// asProgram makes the test binary be the program itself, which the scripts run; under the names of clients that the
// program starts, it stands in for them.
const asProgram = "TENANTCTL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		code := m.Run()
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	switch filepath.Base(os.Args[0]) {
	case "psql":
		os.Exit(psql())
	case "mongosh":
		os.Exit(mongosh())
	}
	os.Exit(cmd.Main())
}

// psql runs each line of its input at the server that the environment names, as the real one does. A line \exit N ends
// it with that code.
func psql() int {
	fmt.Println("arguments:", os.Args[1:])
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if code, ok := strings.CutPrefix(lines.Text(), `\exit `); ok {
			n, err := strconv.Atoi(code)
			if err != nil {
				return 99
			}
			return n
		}
		rows, err := querySQL(context.Background(), "", lines.Text())
		if err != nil {
			fmt.Fprintln(os.Stderr, strings.TrimPrefix(err.Error(), "ERROR: "))
			return 3
		}
		fmt.Print(rows)
	}
	return 0
}

// mongosh tells what it was started with.
func mongosh() int {
	fmt.Println("arguments:", os.Args[1:])
	fmt.Println("url:", os.Getenv("TENANTCTL_SHELL_URL"))
	script, err := os.ReadFile(os.Args[len(os.Args)-1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("script: %s", script)
	return 0
}
