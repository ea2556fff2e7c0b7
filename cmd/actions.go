package cmd

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// onActions tells whether the program runs as a step of GitHub Actions.
func onActions() bool { return os.Getenv("GITHUB_ACTIONS") == "true" }

// annotation is a remark that GitHub shows beside the file or the run.
type annotation struct {
	level   string // "error", "warning" or "notice"
	file    string // empty for a remark on the run
	line    int    // 0 for the whole file
	title   string
	message string
}

var (
	actionsData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	actionsProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// annotate writes a workflow command. GitHub reads them from stderr too, so that stdout stays the result alone.
func annotate(w io.Writer, n annotation) {
	var properties []string
	add := func(name, value string) {
		if value != "" {
			properties = append(properties, name+"="+actionsProperty.Replace(value))
		}
	}
	add("file", n.file)
	if n.line > 0 {
		add("line", fmt.Sprint(n.line))
	}
	add("title", n.title)
	command := n.level
	if len(properties) > 0 {
		command += " " + strings.Join(properties, ",")
	}
	fmt.Fprintf(w, "::%s::%s\n", command, actionsData.Replace(n.message))
}
