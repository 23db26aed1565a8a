package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun_DrawsWhatWasMeasured: a chart for each group with figures, none for the
// others.
func TestRun_DrawsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "figures.json")
	figures := `{"terraform": [{"operation": "destroy", "terraform": "terraform destroy", "baselines": 50, "latencySeconds": 0.06, "pulumiSeconds": 1, "terraformSeconds": 3},
		{"operation": "preview --refresh", "terraform": "terraform plan", "baselines": 50, "latencySeconds": 0.06, "pulumiSeconds": 2, "terraformSeconds": 3},
		{"operation": "up", "terraform": "terraform apply", "baselines": 50, "latencySeconds": 0.06, "pulumiSeconds": 2, "terraformSeconds": 3}],
		"firstUp": {"totalSeconds": 9, "steps": [{"name": "baseline-0-key", "start": 1, "end": 4}], "calls": [{"name": "kms:CreateKey", "start": 1, "end": 2}]}}`
	if err := os.WriteFile(file, []byte(figures), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(file, dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"terraform": ">up, 50, 60 ms<", "first": ">calls to kms<"} {
		svg, err := os.ReadFile(filepath.Join(dir, "benchmarks-"+name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(svg), want) {
			t.Errorf("the chart %s does not show %q", name, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "benchmarks-scale.svg")); err == nil {
		t.Error("there is a chart of scale without figures")
	}
}
