package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// data are the figures that charts are drawn from. e2e/charts reads them.
type data struct {
	Machine   map[string]string `json:"machine"` // by group
	Scale     []point           `json:"scale,omitempty"`
	FirstUp   *firstUp          `json:"firstUp,omitempty"`
	Terraform []comparison      `json:"terraform,omitempty"`
}

// point is one operation of a growing stack.
type point struct {
	Operation string  `json:"operation"`
	Baselines int     `json:"baselines"`
	Seconds   float64 `json:"seconds"`
}

// readData reads the figures of earlier runs, which the groups of this run replace. A
// file that does not exist has none.
func readData(file string) (data, error) {
	d := data{Machine: map[string]string{}}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		return d, fmt.Errorf("reading the figures of earlier runs: %w", err)
	}
	return d, nil
}

func (d data) write(file string) error {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
