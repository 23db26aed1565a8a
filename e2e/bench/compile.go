package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// measureCompile compiles the program that `pulumi up` runs. What it changes of
// a source file, it changes in an overlay, so that the tree stays as it is.
func measureCompile(ctx context.Context, b *bench) ([]table, error) {
	t := table{title: "Compiling the program (main.go)", header: []string{"build", "time"}}
	if b.cold {
		b.say("compiling with an empty build cache, for minutes")
		cache := filepath.Join(b.dir, "gocache")
		took, err := b.compile(ctx, "", cache)
		if err != nil {
			return nil, err
		}
		if err := os.RemoveAll(cache); err != nil {
			return nil, err
		}
		t.add("cold: an empty build cache, once", seconds(took))
	}
	b.say("compiling after a change")
	if _, err := b.compile(ctx, "", ""); err != nil { // what is not in the cache yet
		return nil, err
	}
	var changed, unchanged []time.Duration
	for i := range b.runs {
		overlay, err := b.changedSource(i)
		if err != nil {
			return nil, err
		}
		for _, times := range []*[]time.Duration{&changed, &unchanged} {
			took, err := b.compile(ctx, overlay, "")
			if err != nil {
				return nil, err
			}
			*times = append(*times, took)
		}
	}
	t.add("warm: after a change in stack/stack.go", seconds(middle(changed)))
	t.add("warm: nothing has changed", seconds(middle(unchanged)))
	t.notes = []string{fmt.Sprintf("Warm: median of %d.", b.runs)}
	if !b.cold {
		t.notes = append(t.notes, "The cold build was left out: -cold measures it, too.")
	}
	return []table{t}, nil
}

// compile builds the program as sandbox/langhost does, anew where nothing is to be found of it.
func (b *bench) compile(ctx context.Context, overlay, cache string) (time.Duration, error) {
	args := []string{"build", "-ldflags=-s -w", "-o", filepath.Join(b.dir, "program")}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := b.goCommand(ctx, append(args, ".")...)
	if cache != "" {
		cmd.Env = append(os.Environ(), "GOCACHE="+cache)
	}
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("compiling the program: %w\n%s", err, out)
	}
	return time.Since(start), nil
}

// changedSource is an overlay in which stack/stack.go has one function more,
// which has never been compiled.
func (b *bench) changedSource(run int) (overlay string, err error) {
	name := filepath.Join(b.root, "stack", "stack.go")
	source, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	var changed bytes.Buffer
	changed.Write(source)
	fmt.Fprintf(&changed, "\nfunc benchChange() int64 { return %d }\n", time.Now().UnixNano())
	replacement := filepath.Join(b.dir, fmt.Sprintf("stack-%d.go", run))
	if err := os.WriteFile(replacement, changed.Bytes(), 0o600); err != nil {
		return "", err
	}
	data, err := json.Marshal(map[string]map[string]string{"Replace": {name: replacement}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(b.dir, fmt.Sprintf("overlay-%d.json", run))
	return overlay, os.WriteFile(overlay, data, 0o600)
}
