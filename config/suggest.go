package config

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

func joined(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}

// lastPart is the name within its section.
func lastPart(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

func isKey(name string) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name })
}

func isSection(name string) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return strings.HasPrefix(k.Name, name+".") })
}

// keysOf gives the names directly in a section, "" being the top of the file.
func keysOf(section string) []string {
	var names []string
	for _, key := range keys {
		if rest, inside := strings.CutPrefix("."+key.Name, strings.TrimSuffix("."+section, ".")+"."); inside {
			name, _, _ := strings.Cut(rest, ".")
			names = append(names, name)
		}
	}
	return slices.Compact(names)
}

// advice names the key that an unknown one was likely meant to be, else those that its section has.
func advice(unknown, section string) string {
	if keyShape.MatchString(unknown) {
		near := nearest(unknown)
		if section == "" && near == "" {
			near = nearestOf(unknown, []string{contexts, current})
		}
		if near != "" {
			return "did you mean " + near + "?"
		}
	}
	if section == "" {
		return "known ones are " + strings.Join(keysOf(section), ", ") + ", " + contexts + ", " + current
	}
	return section + " has " + strings.Join(keysOf(section), ", ")
}

// nearest finds the known key or section with the fewest letters to change, at most half of the name;
// the right name in the wrong section counts as one change.
func nearest(unknown string) string {
	unknown = strings.ToLower(unknown)
	last := lastPart(unknown)
	best, fewest := "", (len(last)+1)/2+1
	consider := func(name string) {
		changes := levenshtein.ComputeDistance(unknown, name)
		if lastPart(name) == last {
			changes = min(changes, 1)
		}
		if changes < fewest {
			best, fewest = name, changes
		}
	}
	for _, section := range keysOf("") {
		consider(section)
	}
	for _, key := range keys {
		consider(key.Name)
	}
	return best
}
