package cmd

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/tenantctl/tenantctl/config"
)

// jsonLine is a line of stderr where every line is JSON, in the form of log/slog.
type jsonLine struct {
	Time     time.Time    `json:"time"`
	Level    string       `json:"level"`
	Msg      string       `json:"msg"`
	Error    *errorFields `json:"error,omitempty"`
	Progress *progressDoc `json:"progress,omitempty"`
}

func (l jsonLine) String() string {
	b, err := marshal(l)
	if err != nil { // a name or a message is always text
		return fmt.Sprintf(`{"level":"ERROR","msg":%q}`, err.Error())
	}
	return string(b)
}

// tell writes a line to stderr: the text, or as JSON what it says where every line there is JSON.
func (a *app) tell(level slog.Level, text, msg string) {
	if a.errOut.isJSON() {
		text = jsonLine{Time: time.Now().UTC(), Level: level.String(), Msg: strings.TrimSpace(msg)}.String()
	}
	fmt.Fprintln(a.errOut, text)
}

// prompt writes a question. A person has to see it before there is an answer: as JSON it is a line of its own.
func (a *app) prompt(text string) {
	if a.errOut.isJSON() {
		a.tell(slog.LevelInfo, "", strings.TrimSuffix(text, ": "))
		return
	}
	fmt.Fprint(a.errOut, text)
}

// wantsJSONLog finds in a command line that may be too wrong to be parsed, or in the environment, that stderr is to be JSON.
func wantsJSONLog(args []string) bool {
	const flag = "--log-format"
	for i, arg := range args {
		value, inOne := strings.CutPrefix(arg, flag+"=")
		switch {
		case arg == "--":
			args = nil
		case inOne:
			return value == config.LogJSON
		case arg == flag && i+1 < len(args):
			return args[i+1] == config.LogJSON
		}
		if args == nil {
			break
		}
	}
	return os.Getenv("TENANTCTL_LOG_FORMAT") == config.LogJSON
}

// asJSON makes each line of the stream a JSON object, whoever writes it.
func (s *stream) asJSON(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.json = is
}

func (s *stream) isJSON() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.json
}

// inJSON takes the next piece of what is written, and gives the lines that are whole.
func (s *stream) inJSON(p []byte) []byte {
	all := string(s.rest) + string(p)
	end := strings.LastIndexByte(all, '\n') + 1
	s.rest = []byte(all[end:])
	var b strings.Builder
	for line := range strings.Lines(all[:end]) {
		b.WriteString(asJSONLine(strings.TrimSuffix(line, "\n")))
	}
	return []byte(b.String())
}

// flush ends a line that was begun.
func (s *stream) flush() {
	s.mu.Lock()
	rest := string(s.rest)
	is := s.json && rest != ""
	s.mu.Unlock()
	if is {
		_, _ = s.Write([]byte("\n")) // the stream remembers its error
	}
}

// asJSONLine leaves a line that is an object, and wraps another. Control characters within are escaped, colours are left out.
func asJSONLine(line string) string {
	for _, c := range colors {
		line = strings.ReplaceAll(line, c, "")
	}
	if strings.TrimSpace(line) == "" {
		return ""
	}
	if !strings.HasPrefix(line, "{") || !json.Valid([]byte(line)) {
		line = jsonLine{Time: time.Now().UTC(), Level: slog.LevelInfo.String(), Msg: strings.TrimRight(line, " \r")}.String()
	}
	var b strings.Builder
	for _, r := range line {
		if hidden(r) && r != '\ufffd' {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String() + "\n"
}
