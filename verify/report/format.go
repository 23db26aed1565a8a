package report

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// Formats names the output formats, the default one first.
var Formats = []string{"table", "json", "junit", "sarif", "ocsf", "html"}

// Options are the choices of the formats for people. Only the table has any.
type Options struct {
	// Color marks the statuses with ANSI colors. The default is false.
	Color bool
	// Width is the number of columns to keep to. The default, for anything
	// below 40, is 80.
	Width int
	// Verbose shows what was expected, what was seen and the evidence for
	// passed checks as well. The default is false.
	Verbose bool
}

// Write writes r in one of [Formats]. Values that look like credentials are
// masked in all of them.
func Write(w io.Writer, format string, r *Report, o Options) error {
	switch format {
	case "table":
		return WriteTable(w, r, o)
	case "json":
		return WriteJSON(w, r)
	case "junit":
		return WriteJUnit(w, r)
	case "sarif":
		return WriteSARIF(w, r)
	case "ocsf":
		return WriteOCSF(w, r)
	case "html":
		return WriteHTML(w, r)
	}
	return fmt.Errorf("unknown format %q: use one of %s", format, strings.Join(Formats, ", "))
}

var formatOfEnding = map[string]string{
	".txt":   "table",
	".json":  "json",
	".xml":   "junit",
	".sarif": "sarif",
	".html":  "html",
}

// FormatForFile chooses the format of a report file by the ending of its name:
// .txt, .json, .xml (JUnit), .sarif, .ocsf.json or .html. The other common name
// of a SARIF file, .sarif.json, is known too. Any other ending is an error.
func FormatForFile(name string) (string, error) {
	lower := strings.ToLower(name)
	if strings.HasSuffix(lower, ".sarif.json") {
		return "sarif", nil
	}
	if strings.HasSuffix(lower, ".ocsf.json") {
		return "ocsf", nil
	}
	if f, ok := formatOfEnding[filepath.Ext(lower)]; ok {
		return f, nil
	}
	endings := []string{".ocsf.json"}
	for e := range formatOfEnding {
		endings = append(endings, e)
	}
	slices.Sort(endings)
	return "", fmt.Errorf("cannot tell the format of report file %q: give it one of the endings %s",
		name, strings.Join(endings, ", "))
}
