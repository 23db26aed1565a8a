// Command bench measures what this project promises to be fast at, in one run
// and side by side: the course's shell commands and the sandbox, the compiler,
// localaws, verify, and stacks that grow. It prints tables in Markdown, with the
// target beside each number. It is for people: a missed target is no failure,
// since machines differ, but a wrong result is one, and no test looks at a time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // stop has nothing left to do
}

// groups lists what can be measured, in the order of the tables.
var groups = []struct {
	name    string
	measure func(context.Context, *bench) ([]table, error)
}{
	{"course", measureCourse},
	{"compile", measureCompile},
	{"localaws", measureLocalAWS},
	{"verify", measureVerify},
	{"scale", measureScale},
}

// bench is one run: its flags and what all groups need.
type bench struct {
	runs  int
	cold  bool
	sizes []int

	root     string // the project's folder
	dir      string // of this run, removed at its end
	tools    *engine.Tools
	aws      string // the AWS CLI
	progress io.Writer
}

// say tells who waits what is being measured.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}

// run runs the command line and returns the exit code: 0, 1 where a result was
// wrong or could not be had, 2 for wrong flags, 130 after Ctrl-C.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == scaleStep {
		if err := runScaleStep(ctx, args[1:], stdout, stderr); err != nil {
			fmt.Fprintf(stderr, "bench: error: %v\n", err)
			return 1
		}
		return 0
	}
	b := &bench{progress: stderr}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	only := f.String("only", "", "measure these `groups` alone, separated by commas: "+strings.Join(groupNames(), ", "))
	sizes := f.String("sizes", "1,10,50,100", "how many `baselines` a stack has in the group scale, separated by commas")
	write := f.String("write", "", "also write the tables into this `file`, between the markers that are in it")
	f.IntVar(&b.runs, "runs", 5, "take the median of this many `runs`, where a run is short")
	f.BoolVar(&b.cold, "cold", false, "also compile the program with an empty build cache, which takes minutes")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2 // said already
	}
	chosen, err := b.check(f, *only, *sizes, *write)
	if err != nil {
		fmt.Fprintf(stderr, "bench: error: %v\n", err)
		return 2
	}
	err = b.measure(ctx, chosen, *write, stdout)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "bench: interrupted")
		return 130
	case err != nil:
		fmt.Fprintf(stderr, "bench: error: %v\n", err)
		return 1
	}
	return 0
}

func groupNames() []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

// check says what is wrong with the flags, before anything is measured.
func (b *bench) check(f *flag.FlagSet, only, sizes, write string) (chosen []string, err error) {
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if b.runs < 1 {
		return nil, fmt.Errorf("-runs %d: at least 1 is needed", b.runs)
	}
	for size := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(size))
		if err != nil || n < 1 || n > 1000 {
			return nil, fmt.Errorf("-sizes %s: %q is not a number from 1 to 1000", sizes, size)
		}
		b.sizes = append(b.sizes, n)
	}
	chosen = groupNames()
	if only != "" {
		chosen = strings.Split(only, ",")
		for _, name := range chosen {
			if !slices.Contains(groupNames(), name) {
				return nil, fmt.Errorf("-only %s: there is no group %q, only %s", only, name, strings.Join(groupNames(), ", "))
			}
		}
	}
	if write != "" {
		if only != "" {
			return nil, errors.New("-write with -only would drop the other groups' tables from the file: leave one of them out")
		}
		document, err := os.ReadFile(write)
		if err == nil {
			_, err = between(string(document), "")
		}
		if err != nil {
			return nil, fmt.Errorf("-write %s: %w", write, err)
		}
	}
	return chosen, nil
}

// measure measures the chosen groups and prints each group's tables once it has
// them. A group that fails does not keep the others from being measured.
func (b *bench) measure(ctx context.Context, chosen []string, write string, stdout io.Writer) (err error) {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	var text strings.Builder
	out := io.MultiWriter(stdout, &text)
	fmt.Fprint(out, b.machine(ctx))
	var wrong []error
	for _, g := range groups {
		if !slices.Contains(chosen, g.name) || ctx.Err() != nil {
			continue
		}
		tables, err := g.measure(ctx, b)
		for _, t := range tables {
			fmt.Fprintf(out, "\n%s", t)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", g.name, err))
		}
	}
	if err := errors.Join(wrong...); err != nil || write == "" {
		return err
	}
	return writeBetween(write, text.String())
}

// prepare puts in place what is measured.
func (b *bench) prepare(ctx context.Context) error {
	root, err := engine.FindRoot(".")
	if err != nil {
		return err
	}
	b.root = root
	if b.tools, err = engine.Install(ctx, root, b.progress); err != nil {
		return err
	}
	if b.aws, err = engine.InstallAWSCLI(ctx, root, b.progress); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "kms-baseline-bench-"); err != nil {
		return err
	}
	b.say("building sandbox and verify")
	build := b.goCommand(ctx, "build", "-o", b.dir+string(filepath.Separator), "./sandbox", "./verify")
	if out, err := build.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("building sandbox and verify: %w\n%s", err, out), os.RemoveAll(b.dir))
	}
	return nil
}

// goCommand is the Go toolchain in the project's folder.
func (b *bench) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.root
	return cmd
}
