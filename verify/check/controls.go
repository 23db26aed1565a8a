package check

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// Which requirement of which framework a check is evidence for changes with
// every edition of a framework, so it is data: controls.json, by check.
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

// Controls is what a check is evidence for. Where a requirement is for all
// Regions, having looked at one is partial evidence.
func Controls(id string, allRegions bool) []report.Control {
	var out []report.Control
	for _, c := range controls[id] {
		out = append(out, report.Control{Framework: c.Framework, ID: c.ID, Partial: c.Partial || c.AllRegions && !allRegions})
	}
	return out
}
