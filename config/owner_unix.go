//go:build unix

package config

import (
	"os"
	"strconv"
	"syscall"
)

// belongsToAnother tells whether a file is somebody else's, root aside: what it says is run here. Under sudo the files
// of who called it are fine too.
func belongsToAnother(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 || int64(stat.Uid) == int64(os.Geteuid()) {
		return false
	}
	return os.Geteuid() != 0 || strconv.FormatUint(uint64(stat.Uid), 10) != os.Getenv("SUDO_UID")
}
