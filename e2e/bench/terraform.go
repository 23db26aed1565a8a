package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// latencies are how long localaws waits before it answers a call: not at all, and
// about as long as AWS takes.
var latencies = []time.Duration{0, 60 * time.Millisecond}

// terraformSteps are the operations of scale, Terraform's command for each, and the
// largest part of Terraform's time that ours may take.
var terraformSteps = []struct {
	operation string
	command   []string
	target    float64
}{
	{"up", []string{"apply", "-auto-approve"}, 1},
	{"preview --refresh", []string{"plan", "-detailed-exitcode"}, 1}, // exits with 2 if there is a change
	{"destroy", []string{"destroy", "-auto-approve"}, 0.25},
}

// comparison is one operation by both programs.
type comparison struct {
	Operation string  `json:"operation"`
	Command   string  `json:"terraform"`
	Baselines int     `json:"baselines"`
	Latency   float64 `json:"latencySeconds"`
	Runs      int     `json:"runs"`
	Pulumi    float64 `json:"pulumiSeconds"`
	Terraform float64 `json:"terraformSeconds"`
	Target    float64 `json:"target"` // at most this part of Terraform's time
	// Processor time by program, in seconds; empty where there is no /proc.
	PulumiCPU    map[string]float64 `json:"pulumiCPU,omitempty"`
	TerraformCPU map[string]float64 `json:"terraformCPU,omitempty"`
}

func (c comparison) ratio() float64 { return c.Pulumi / c.Terraform }

// measureTerraform makes, looks at and deletes the same resources by this project and
// by Terraform, with the same provider's code, in accounts of their own. Where
// Terraform or the provider's code is missing, its table states it.
func measureTerraform(ctx context.Context, b *bench) ([]table, error) {
	t := table{title: "Beside Terraform", header: []string{"operation", "baselines", "latency", "rounds", "this project", "Terraform", "ratio", "target", ""}}
	cpu := table{title: "Processor time beside Terraform", header: []string{"operation", "baselines", "latency", "this project", "its program", "its engine", "its provider", "Terraform", "its core", "its provider"}}
	tf, version, err := b.prepareTerraform(ctx)
	if err != nil {
		t.notes = []string{"Not measured: " + err.Error() + "."}
		return []table{t}, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b.data.Terraform = nil
	for _, n := range b.pairs {
		runs := min(b.runs, 3)
		if n > 10 {
			runs = 1 // a round takes minutes
		}
		for _, latency := range latencies {
			ours, theirs := map[string][]sample{}, map[string][]sample{}
			for i := range runs {
				b.say("%d baselines, %s for each call, round %d of %d", n, seconds(latency), i+1, runs)
				if err := b.pair(ctx, self, tf, n, latency, ours, theirs); err != nil {
					return []table{t, cpu}, fmt.Errorf("%d baselines: %w", n, err)
				}
			}
			for _, step := range terraformSteps {
				our, their := median(ours[step.operation]), median(theirs[step.operation])
				c := comparison{
					Operation: step.operation, Command: "terraform " + step.command[0], Baselines: n, Latency: latency.Seconds(), Runs: runs,
					Pulumi: our.took.Seconds(), Terraform: their.took.Seconds(), Target: step.target,
					PulumiCPU: byRole(our.cpu), TerraformCPU: byRole(their.cpu),
				}
				b.data.Terraform = append(b.data.Terraform, c)
				t.add(c.Operation+" / "+step.command[0], strconv.Itoa(n), seconds(latency), strconv.Itoa(runs), fmt.Sprintf("%.1f s", c.Pulumi), fmt.Sprintf("%.1f s", c.Terraform),
					fmt.Sprintf("%.2f", c.ratio()), fmt.Sprintf("at most %g", c.Target), met(c.ratio() <= c.Target))
				cpu.add(append([]string{c.Operation + " / " + step.command[0], strconv.Itoa(n), seconds(latency)}, c.cpuCells()...)...)
			}
		}
	}
	t.notes = []string{fmt.Sprintf("Medians of the rounds, in turns. Terraform %s with the provider built from the source of the sandbox's provider, and the same resources, "+
		"whose calls that change something are compared. Both work on %d resources at a time.", version, parallel)}
	cpu.notes = []string{"User and system time of the same runs, medians. The time of localaws is not in it."}
	return []table{t, cpu}, nil
}

// The programs of a run, by what they do.
const (
	roleProgram  = "program"
	roleEngine   = "engine"
	roleProvider = "provider"
)

// byRole sums processor time by what the programs do, in seconds. The program that
// declares the resources runs in this one.
func byRole(cpu map[string]time.Duration) map[string]float64 {
	sum := map[string]float64{}
	for name, t := range cpu {
		role := roleProgram
		switch {
		case strings.HasPrefix(name, "pulumi-resource"), strings.HasPrefix(name, "terraform-"):
			role = roleProvider
		case name == "pulumi", name == "terraform":
			role = roleEngine
		}
		sum[role] += t.Seconds()
	}
	return sum
}

// cpuCells are the cells of processor time: the sum of ours and its parts, and the
// same of Terraform, which has no program beside its core.
func (c comparison) cpuCells() []string {
	var cells []string
	for _, of := range []struct {
		cpu   map[string]float64
		roles []string
	}{{c.PulumiCPU, []string{roleProgram, roleEngine, roleProvider}}, {c.TerraformCPU, []string{roleEngine, roleProvider}}} {
		sum := 0.0
		var parts []string
		for _, role := range of.roles {
			sum += of.cpu[role]
			parts = append(parts, fmt.Sprintf("%.1f s", of.cpu[role]))
		}
		cells = append(append(cells, fmt.Sprintf("%.1f s", sum)), parts...)
	}
	return cells
}

// pair is one round, in an account each.
func (b *bench) pair(ctx context.Context, self string, tf []string, n int, latency time.Duration, ours, theirs map[string][]sample) error {
	var made [2]map[string]int
	for i, samples := range []map[string][]sample{ours, theirs} {
		a, err := b.newAccount()
		if err != nil {
			return err
		}
		if latency > 0 {
			a.server.Inject(localaws.Fault{Delay: latency})
		}
		command := func(operation string, _ []string) []string {
			return []string{self, scaleStep, operation, strconv.Itoa(n), a.paths.Dir, a.server.URL()}
		}
		if i == 1 {
			dir := filepath.Join(a.paths.Dir, "terraform")
			if err := writeConfiguration(dir, n); err != nil {
				return errors.Join(err, a.close())
			}
			command = func(_ string, args []string) []string {
				return append(append(slices.Clone(tf), "-chdir="+dir, args[0], "-no-color", "-input=false"), args[1:]...)
			}
		}
		for _, step := range terraformSteps {
			c := command(step.operation, step.command)
			s, _, err := b.run(ctx, a, c[0], c[1:]...)
			if err != nil {
				return errors.Join(err, a.close())
			}
			b.say("%s: %s, %d calls, processor time %v", []string{step.operation, "terraform " + step.command[0]}[i], seconds(s.took), s.calls, byRole(s.cpu))
			samples[step.operation] = append(samples[step.operation], s)
			switch step.operation {
			case "up":
				made[i] = changes(a.server.Calls())
			case "destroy":
				if a.deleted() < n {
					return errors.Join(fmt.Errorf("%s deleted the bucket and the key of %d baselines", c[0], a.deleted()), a.close())
				}
			}
		}
		if err := a.close(); err != nil {
			return err
		}
	}
	if fmt.Sprint(made[0]) != fmt.Sprint(made[1]) {
		return fmt.Errorf("the two have not made the same: up called %v, terraform apply %v", made[0], made[1])
	}
	return nil
}

// readOnly matches operations that change nothing.
var readOnly = regexp.MustCompile(`^(Get|List|Describe|Head|Lookup)`)

// changes are the calls that may change something.
func changes(calls []localaws.CallCount) map[string]int {
	out := map[string]int{}
	for _, c := range calls {
		if !readOnly.MatchString(c.Operation) {
			out[c.Service+":"+c.Operation] = c.Count
		}
	}
	return out
}

//go:embed baselines.tf.tmpl
var baselinesTemplate string

// configuration is the program baselines in Terraform's language.
func configuration(n int) ([]byte, error) {
	t, err := template.New("").Parse(baselinesTemplate)
	if err != nil {
		return nil, err
	}
	names := make([]string, n)
	for i := range names {
		names[i] = baselineName(i)
	}
	var out bytes.Buffer
	err = t.Execute(&out, names)
	return out.Bytes(), err
}

func writeConfiguration(dir string, n int) error {
	text, err := configuration(n)
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "main.tf"), text, 0o600)
	}
	return err
}

// prepareTerraform builds the provider and returns the command that runs Terraform
// with it, and Terraform's version.
func (b *bench) prepareTerraform(ctx context.Context) (command []string, version string, err error) {
	program, err := exec.LookPath("terraform")
	if err != nil {
		return nil, "", errors.New("there is no terraform on PATH")
	}
	b.say("building the Terraform provider")
	if err := engine.BuildTerraformProvider(ctx, b.root, filepath.Join(b.dir, "terraform-provider-aws")); err != nil {
		return nil, "", err
	}
	// A provider under development needs no terraform init.
	// Source: https://developer.hashicorp.com/terraform/cli/config/config-file#development-overrides-for-provider-developers
	config := filepath.Join(b.dir, "terraform.rc")
	rc := fmt.Sprintf("provider_installation {\n  dev_overrides {\n    \"hashicorp/aws\" = %q\n  }\n  direct {}\n}\n", b.dir)
	if err := os.WriteFile(config, []byte(rc), 0o600); err != nil {
		return nil, "", err
	}
	command = []string{"env", "TF_CLI_CONFIG_FILE=" + config, "CHECKPOINT_DISABLE=1", program}
	out, err := exec.CommandContext(ctx, command[0], append(command[1:], "version", "-json")...).Output()
	var v struct {
		Version string `json:"terraform_version"`
	}
	if err == nil {
		err = json.Unmarshal(out, &v)
	}
	if err != nil {
		return nil, "", fmt.Errorf("terraform version -json: %w", err)
	}
	return command, v.Version, nil
}
