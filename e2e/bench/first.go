package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"

	"github.com/securethecloud/kms-baseline/localaws"
)

// firstUp is where the seconds of the first up of one baseline go.
type firstUp struct {
	Steps []span  `json:"steps"` // of the engine, one for each resource
	Calls []span  `json:"calls"` // to AWS
	Total float64 `json:"totalSeconds"`
	// Total is the sum of these: at a given moment, a call to AWS is under way; or
	// none is, but the provider has not finished a resource; or neither.
	InCalls     float64 `json:"inCallsSeconds"`
	InProvider  float64 `json:"inProviderSeconds"`
	BeforeSteps float64 `json:"beforeStepsSeconds"` // before the first resource of the provider: engine, provider and program start
	Rest        float64 `json:"restSeconds"`        // between resources and after the last
}

// span is something that takes time, in seconds since the start of the command.
type span struct {
	Name  string  `json:"name"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
}

// stepTimes is the file in an account's folder into which the engine's steps go.
const stepTimes = "steps.json"

// step is one resource's step, as the process that runs the program saw it.
type step struct {
	Name       string
	Provider   bool // a resource of the AWS provider
	Start, End time.Time
}

// recordSteps writes what the engine does to resources into file once events is
// closed, and returns then.
func recordSteps(engineEvents <-chan events.EngineEvent, file string) error {
	var steps []*step
	open := map[string]*step{}
	for e := range engineEvents {
		now := time.Now() // the engine's own timestamps have whole seconds
		switch {
		case e.ResourcePreEvent != nil:
			m := e.ResourcePreEvent.Metadata
			s := &step{Name: m.URN[strings.LastIndex(m.URN, "::")+2:], Provider: strings.HasPrefix(m.Type, "aws:"), Start: now}
			open[m.URN], steps = s, append(steps, s)
		case e.ResOutputsEvent != nil:
			if s := open[e.ResOutputsEvent.Metadata.URN]; s != nil {
				s.End = now
			}
		}
	}
	text, err := json.Marshal(steps)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// measureFirst records one first up, call by call.
func measureFirst(ctx context.Context, b *bench) ([]table, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var calls []localaws.Call
	a, err := b.newAccount(func(c localaws.Call) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, c)
	})
	if err != nil {
		return nil, err
	}
	b.say("the first up, call by call")
	start := time.Now()
	s, _, err := b.run(ctx, a, self, scaleStep, recordedUp, "1", a.paths.Dir, a.server.URL())
	var text []byte
	if err == nil {
		text, err = os.ReadFile(filepath.Join(a.paths.Dir, stepTimes))
	}
	if err := errors.Join(err, a.close()); err != nil {
		return nil, err
	}
	var steps []step
	if err := json.Unmarshal(text, &steps); err != nil {
		return nil, err
	}
	f := breakDown(start, s.took, steps, calls)
	b.data.FirstUp = &f
	t := table{title: "The first up, call by call", header: []string{"what", "time", "part"}}
	row := func(name string, v float64) {
		t.add(name, fmt.Sprintf("%.2f s", v), fmt.Sprintf("%.0f%%", 100*v/f.Total))
	}
	row("start of engine, provider and program", f.BeforeSteps)
	row(fmt.Sprintf("AWS calls (%d)", len(f.Calls)), f.InCalls)
	row("the provider's waits: a resource is not finished, and no call is under way", f.InProvider)
	row("the rest: the engine between resources and at the end", f.Rest)
	longest := slices.Clone(f.Steps)
	slices.SortStableFunc(longest, func(x, y span) int { return int((y.End - y.Start - x.End + x.Start) * 1e6) })
	t.notes = []string{"Once. The longest steps: " + stepList(longest[:min(4, len(longest))]) + ". They overlap."}
	return []table{t}, nil
}

func stepList(steps []span) string {
	var out []string
	for _, s := range steps {
		out = append(out, fmt.Sprintf("%s %.2f s", s.Name, s.End-s.Start))
	}
	return strings.Join(out, ", ")
}

// breakDown divides the time of the command, from start on.
func breakDown(start time.Time, took time.Duration, steps []step, calls []localaws.Call) firstUp {
	f := firstUp{Total: took.Seconds()}
	since := func(t time.Time) float64 { return min(max(t.Sub(start).Seconds(), 0), f.Total) }
	var provider, all []span
	f.BeforeSteps = f.Total
	for _, s := range steps {
		if !s.Provider || s.End.IsZero() {
			continue
		}
		x := span{s.Name, since(s.Start), since(s.End)}
		f.Steps, provider = append(f.Steps, x), append(provider, x)
		f.BeforeSteps = min(f.BeforeSteps, x.Start)
	}
	all = append(all, provider...)
	for _, c := range calls {
		x := span{c.Service + ":" + c.Operation, since(c.Time), since(c.Time.Add(c.Took))}
		f.Calls, all = append(f.Calls, x), append(all, x)
	}
	slices.SortStableFunc(f.Calls, func(x, y span) int { return int((x.Start - y.Start) * 1e6) })
	f.InCalls = covered(f.Calls, f.BeforeSteps)
	busy := covered(all, f.BeforeSteps)
	f.InProvider = busy - f.InCalls
	f.Rest = f.Total - f.BeforeSteps - busy
	return f
}

// covered is how long at least one of the spans is under way, after from.
func covered(spans []span, from float64) float64 {
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(x, y span) int { return int((x.Start - y.Start) * 1e6) })
	sum, end := 0.0, from
	for _, s := range sorted {
		if s.End > end {
			sum += s.End - max(s.Start, end)
			end = s.End
		}
	}
	return sum
}
