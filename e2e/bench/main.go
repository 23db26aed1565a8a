// Command bench measures what this project promises to be fast at, in one run
// and side by side: the course's shell commands and the sandbox, the compiler,
// localaws, verify, stacks that grow, and Terraform. It prints tables in Markdown, with the
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

// groups lists what can be measured, in the order of the tables. chart describes what the
// chart shows that e2e/charts draws of a group's figures, if it draws one.
var groups = []struct {
	name    string
	chart   string
	measure func(context.Context, *bench) ([]table, error)
}{
	{"course", "", measureCourse},
	{"compile", "", measureCompile},
	{"localaws", "", measureLocalAWS},
	{"verify", "", measureVerify},
	{"first", "A chart of the first up: its resources and its calls", measureFirst},
	{"scale", "A chart of the time of each operation by the number of baselines", measureScale},
	{"terraform", "A chart of each operation by this project and by Terraform", measureTerraform},
}

// bench is one run: its flags and what all groups need.
type bench struct {
	runs  int
	cold  bool
	sizes []int
	pairs []int // sizes that are compared with Terraform

	root     string // the project's folder
	dir      string // of this run, removed at its end
	tools    *engine.Tools
	aws      string // the AWS CLI
	progress io.Writer
	data     data // of earlier runs, and of this one
}

// say reports what is being measured.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}

// run runs the command line and returns the exit code: 0, 1 where a result was
// wrong or missing, 2 for wrong flags, 130 after Ctrl-C.
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
	pairs := f.String("pairs", "1,50", "how many `baselines` a stack has in the group terraform, separated by commas")
	write := f.String("write", "", "also write each group's tables into this `file`, between the group's markers that are in it")
	figures := f.String("json", "", "also write the figures that charts are drawn from into this `file`; those of groups that are not measured stay")
	f.IntVar(&b.runs, "runs", 5, "take the median of this many `runs`, where a run is short")
	f.BoolVar(&b.cold, "cold", false, "also compile the program with an empty build cache, which takes minutes")
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2 // reported already
	}
	chosen, err := b.check(f, *only, *sizes, *pairs, *write, *figures)
	if err != nil {
		fmt.Fprintf(stderr, "bench: error: %v\n", err)
		return 2
	}
	err = b.measure(ctx, chosen, *write, *figures, stdout)
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

// check returns what is wrong with the flags, before anything is measured.
func (b *bench) check(f *flag.FlagSet, only, sizes, pairs, write, figures string) (chosen []string, err error) {
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if b.runs < 1 {
		return nil, fmt.Errorf("-runs %d: at least 1 is needed", b.runs)
	}
	if b.sizes, err = numbers("-sizes", sizes); err != nil {
		return nil, err
	}
	if b.pairs, err = numbers("-pairs", pairs); err != nil {
		return nil, err
	}
	if b.data, err = readData(figures); err != nil {
		return nil, fmt.Errorf("-json %s: %w", figures, err)
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
		document, err := os.ReadFile(write)
		for _, name := range chosen {
			if err == nil {
				_, err = between(string(document), name, "")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("-write %s: %w", write, err)
		}
	}
	return chosen, nil
}

// numbers reads the numbers of baselines that a flag lists.
func numbers(flag, list string) ([]int, error) {
	var out []int
	for size := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(size))
		if err != nil || n < 1 || n > 1000 {
			return nil, fmt.Errorf("%s %s: %q is not a number from 1 to 1000", flag, list, size)
		}
		out = append(out, n)
	}
	return out, nil
}

// measure measures the chosen groups, and prints and writes the tables and figures of
// each once it has them. A group that fails does not keep the others from being
// measured; its tables are printed and not written.
func (b *bench) measure(ctx context.Context, chosen []string, write, figures string, stdout io.Writer) (err error) {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	var wrong []error
	for _, g := range groups {
		if !slices.Contains(chosen, g.name) || ctx.Err() != nil {
			continue
		}
		machine := b.machine(ctx)
		tables, err := g.measure(ctx, b)
		var text strings.Builder
		if figures != "" && g.chart != "" {
			fmt.Fprintf(&text, "![%s](benchmarks-%s.png)\n\n", g.chart, g.name)
		}
		for _, t := range tables {
			fmt.Fprintf(&text, "%s\n", t)
		}
		text.WriteString(machine)
		fmt.Fprintf(stdout, "%s\n", text.String())
		if err == nil && write != "" {
			err = writeBetween(write, g.name, text.String())
		}
		if err == nil && figures != "" {
			b.data.Machine[g.name] = strings.TrimSpace(machine)
			err = b.data.write(figures)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", g.name, err))
		}
	}
	return errors.Join(wrong...)
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
