package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"golang.org/x/sync/errgroup"

	"github.com/securethecloud/kms-baseline/components"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// scaleStep is this program's first argument where it runs one operation of a
// growing stack, so that the program is in a process of its own, as the engine
// and the provider are.
const scaleStep = "scale-step"

// parallel is how many resources are worked on at a time: Terraform's default, where
// Pulumi's is four for each core.
const parallel = 10

var scaleOperations = []string{"up", "preview --refresh", "destroy"}

// recordedUp is the operation up, with the steps of the engine written to [stepTimes].
const recordedUp = "recorded up"

// measureScale grows a stack.
func measureScale(ctx context.Context, b *bench) ([]table, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	t := table{title: "Many baselines in one stack", header: []string{"operation", "baselines", "time", "peak memory", "AWS calls"}}
	samples := map[string][]sample{}
	for _, n := range b.sizes {
		if err = b.scaleOnce(ctx, self, n, samples); err != nil {
			err = fmt.Errorf("%d baselines: %w", n, err)
			break // the measurements made so far are worth showing
		}
	}
	b.data.Scale = nil
	for _, operation := range scaleOperations {
		var x, took, memory, calls []float64
		for i, s := range samples[operation] {
			b.data.Scale = append(b.data.Scale, point{operation, b.sizes[i], s.took.Seconds()})
			t.add(operation, fmt.Sprint(b.sizes[i]), seconds(s.took), megabytes(s.memory), fmt.Sprint(s.calls))
			x, took, memory, calls = append(x, float64(b.sizes[i])), append(took, s.took.Seconds()), append(memory, float64(s.memory)), append(calls, float64(s.calls))
		}
		if len(x) > 1 {
			t.add(operation, "each more", seconds(time.Duration(slope(x, took)*float64(time.Second))), fmt.Sprintf("%.1f MB", slope(x, memory)/1e6), fmt.Sprintf("%.1f", slope(x, calls)))
		}
	}
	t.notes = []string{"Once each. A baseline is a key, a bucket and their settings; the first one has the EBS defaults, too. Each more: the slope of the straight line that fits best."}
	return []table{t}, err
}

// scaleOnce makes, looks at and deletes a stack of n baselines in an account of
// its own.
func (b *bench) scaleOnce(ctx context.Context, self string, n int, samples map[string][]sample) error {
	a, err := b.newAccount()
	if err != nil {
		return err
	}
	for _, operation := range scaleOperations {
		s, _, err := b.run(ctx, a, self, scaleStep, operation, strconv.Itoa(n), a.paths.Dir, a.server.URL())
		if err != nil {
			return errors.Join(err, a.close())
		}
		b.say("%s of %d baselines: %s, %s, %d calls, processor time %v", operation, n, seconds(s.took), megabytes(s.memory), s.calls, byRole(s.cpu))
		if operation == "destroy" && a.deleted() < n {
			return errors.Join(fmt.Errorf("destroy deleted the bucket and the key of %d baselines", a.deleted()), a.close())
		}
		samples[operation] = append(samples[operation], s)
	}
	return a.close()
}

// runScaleStep runs one operation: its name, how many baselines, the account's
// folder and its address.
func runScaleStep(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) != 4 {
		return fmt.Errorf("%s is for this program's own use", scaleStep)
	}
	operation, dir, url := args[0], args[2], args[3]
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	root, err := engine.FindRoot(".")
	if err != nil {
		return err
	}
	tools, paths := engine.ToolsIn(root), engine.Paths{Dir: dir}
	s, err := engine.OpenStack(ctx, engine.StackOptions{
		Tools: tools, Paths: paths, Env: engine.Env(tools, paths, url, paths.CAFile()), Stack: "scale", Program: baselines(n),
		ProjectFile: filepath.Join(root, "Pulumi.yaml"), ConfigFile: filepath.Join(root, "Pulumi.sandbox.yaml"),
		WithoutResults: true, FastDestroy: true, // as the sandbox
	})
	if err != nil {
		return err
	}
	switch operation {
	case "up":
		_, err = s.Up(ctx, optup.Parallel(parallel), optup.ProgressStreams(stdout), optup.ErrorProgressStreams(stderr))
	case recordedUp: // apart from up: the engine sends the states of each resource with its events
		steps := make(chan events.EngineEvent)
		var recorded errgroup.Group
		recorded.Go(func() error { return recordSteps(steps, filepath.Join(dir, stepTimes)) })
		_, err = s.Up(ctx, optup.Parallel(parallel), optup.ProgressStreams(stdout), optup.ErrorProgressStreams(stderr), optup.EventStreams(steps))
		err = errors.Join(err, recorded.Wait())
	case "preview --refresh":
		_, err = s.Preview(ctx, optpreview.Parallel(parallel), optpreview.Refresh(), optpreview.ExpectNoChanges(), optpreview.ProgressStreams(stdout), optpreview.ErrorProgressStreams(stderr))
	case "destroy":
		_, err = s.Destroy(ctx, optdestroy.Parallel(parallel), optdestroy.ProgressStreams(stdout), optdestroy.ErrorProgressStreams(stderr))
	default:
		err = fmt.Errorf("there is no operation %q", operation)
	}
	return err
}

// baselines is a program with n of them.
func baselines(n int) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		for i := range n {
			if _, err := components.NewEncryptionBaseline(ctx, baselineName(i), &components.EncryptionBaselineArgs{EBS: &components.BaselineEBS{Skip: i > 0}}); err != nil {
				return err
			}
		}
		return nil
	}
}

func baselineName(i int) string { return fmt.Sprintf("baseline-%d", i) }

// slope is that of the straight line that fits best, by least squares.
func slope(x, y []float64) float64 {
	var meanX, meanY float64
	for i := range x {
		meanX += x[i] / float64(len(x))
		meanY += y[i] / float64(len(x))
	}
	var covariance, variance float64
	for i := range x {
		covariance += (x[i] - meanX) * (y[i] - meanY)
		variance += (x[i] - meanX) * (x[i] - meanX)
	}
	return covariance / variance
}
