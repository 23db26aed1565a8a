package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// WriteJSON writes r as docs/verify.schema.json describes it, indented, the
// fields in the order of the model.
func WriteJSON(w io.Writer, r *Report) error {
	r = mapStrings(r, maskSecrets)
	if r.Results == nil {
		r.Results = []Result{} // a list with nothing in it, not null
	}
	return encodeJSON(w, r)
}

// encodeJSON also escapes the invisible characters that encoding/json lets
// through, such as the 8-bit terminal controls: the text reads back the same,
// and showing it on a terminal does nothing.
func encodeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	var out bytes.Buffer
	for _, c := range b.String() {
		if c != '\n' && hidden(c) {
			out.WriteString(escape(c))
			continue
		}
		out.WriteRune(c)
	}
	// Azure Pipelines, TeamCity and GitHub take "##vso[", "##teamcity[" and "##["
	// in a log for commands. In JSON a "#" stands in strings only.
	_, err := w.Write(bytes.ReplaceAll(out.Bytes(), []byte("##"), []byte("#"+escape('#'))))
	return err
}
