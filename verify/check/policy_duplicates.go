package check

import (
	"encoding/json"
	"fmt"
)

// duplicateName returns an error if an object in the JSON value that d is about to
// read has one name twice. encoding/json keeps the last of the two, and AWS does
// not document which of them counts.
func duplicateName(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	open, isDelim := t.(json.Delim)
	if !isDelim {
		return nil
	}
	for d.More() {
		if open == '{' {
			t, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := t.(string)
			if seen[name] {
				return fmt.Errorf("the element %s occurs twice", name)
			}
			seen[name] = true
		}
		if err := duplicateName(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
