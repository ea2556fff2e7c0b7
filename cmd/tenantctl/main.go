// Command tenantctl owns a tenant's life across PostgreSQL and MongoDB.
package main

import (
	"os"

	"github.com/tenantctl/tenantctl/cmd"
)

func main() { os.Exit(cmd.Main()) }
