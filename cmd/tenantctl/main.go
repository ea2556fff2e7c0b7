// Command tenantctl owns a tenant's life across PostgreSQL and MongoDB.
package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/tenantctl/tenantctl/cmd"
)

func main() {
	postponeCollection()
	os.Exit(cmd.Main())
}

// postponeCollection lets the heap grow to 32 MB before it is collected for the first time: a short run ends before.
func postponeCollection() {
	usual := debug.SetGCPercent(800)
	runtime.AddCleanup(new([16]byte), func(percent int) { debug.SetGCPercent(percent) }, usual)
}
