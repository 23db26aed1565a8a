package check

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// controls.json maps each check to the requirements that it is evidence for. It
// is data, apart from the checks, because it changes with every edition of a
// framework.
//
//go:embed controls.json
var controlsJSON []byte

type control struct {
	Framework string `json:"framework"`
	ID        string `json:"id"`
	// Partial: the check is evidence for a part of the requirement only.
	Partial bool `json:"partial"`
	// AllRegions: the requirement is for every Region, so one is a part of it.
	AllRegions bool `json:"allRegions"`
}

var controls = readControls()

func readControls() map[string][]control {
	var m map[string][]control
	d := json.NewDecoder(bytes.NewReader(controlsJSON))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		panic(fmt.Sprintf("controls.json: %v", err)) // embedded, and read by every test
	}
	return m
}

// Controls returns the requirements that a check is evidence for. Where a
// requirement covers all Regions, one Region is partial evidence.
func Controls(id string, allRegions bool) []report.Control {
	var out []report.Control
	for _, c := range controls[id] {
		out = append(out, report.Control{Framework: c.Framework, ID: c.ID, Partial: c.Partial || c.AllRegions && !allRegions})
	}
	return out
}
