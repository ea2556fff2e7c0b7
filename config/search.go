package config

import (
	"os"
	"path/filepath"
)

// searched gives where the file is looked for: in the working folder and those above it, up to the root of the
// repository or to home, as git and direnv users expect, and then in the user's own folder.
func searched() []string {
	paths := []string{fileName}
	here := workingFolder()
	home, _ := os.UserHomeDir()
	home = identity(home)
	for up := ""; here != "" && here != home && !isRepository(here); {
		above := filepath.Dir(here)
		if above == here {
			break
		}
		here, up = above, filepath.Join(up, "..")
		paths = append(paths, filepath.Join(up, fileName))
	}
	if own := userFile(); own != "" {
		paths = append(paths, own)
	}
	return paths
}

// workingFolder is its real path: ".." of a link leads elsewhere than the shell shows.
func workingFolder() string {
	here, err := os.Getwd()
	if err != nil {
		return ""
	}
	return identity(here)
}

// isRepository tells whether a folder is the root of a git repository or of a worktree, where .git is a file.
func isRepository(folder string) bool {
	_, err := os.Lstat(filepath.Join(folder, ".git"))
	return err == nil
}
