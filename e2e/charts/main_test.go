package main

import (
	"bytes"
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
)

const measured = `{"terraform": [{"operation": "destroy", "terraform": "terraform destroy", "baselines": 50, "latencySeconds": 0.06, "pulumiSeconds": 1, "terraformSeconds": 3},
	{"operation": "preview --refresh", "terraform": "terraform plan", "baselines": 50, "latencySeconds": 0.06, "pulumiSeconds": 2, "terraformSeconds": 3},
	{"operation": "up", "terraform": "terraform apply", "baselines": 50, "latencySeconds": 0.06, "pulumiSeconds": 2, "terraformSeconds": 3}],
	"firstUp": {"totalSeconds": 9, "steps": [{"name": "baseline-0-key", "start": 1, "end": 4}], "calls": [{"name": "kms:CreateKey", "start": 1, "end": 2}]}}`

// TestRun_DrawsWhatWasMeasured: a chart for each group with figures, none for the
// others.
func TestRun_DrawsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "figures.json")
	if err := os.WriteFile(file, []byte(measured), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(file, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"terraform", "first"} {
		picture, err := os.ReadFile(filepath.Join(dir, "benchmarks-"+name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := png.Decode(bytes.NewReader(picture)); err != nil {
			t.Errorf("the chart %s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "benchmarks-scale.png")); err == nil {
		t.Error("there is a chart of scale without figures")
	}
}

func TestCharts_NameTheirRows(t *testing.T) {
	t.Parallel()
	var f figures
	if err := json.Unmarshal([]byte(measured), &f); err != nil {
		t.Fatal(err)
	}
	for want, chart := range map[string]func(figures) (*plot.Plot, vg.Length, error){"up, 50, 60 ms": terraform, "calls to kms": firstUp} {
		p, _, err := chart(f)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(p.Y.Tick.Marker.Ticks(0, 10), func(tick plot.Tick) bool { return tick.Label == want }) {
			t.Errorf("no row is named %q", want)
		}
	}
}
