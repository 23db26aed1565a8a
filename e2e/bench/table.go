package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// table is a table in Markdown.
type table struct {
	title  string
	header []string
	rows   [][]string
	notes  []string // below it
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", t.title)
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.header)
	fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", len(t.header)))
	for _, row := range t.rows {
		line(row)
	}
	for _, note := range t.notes {
		fmt.Fprintf(&b, "\n%s\n", note)
	}
	return b.String()
}

// met is what stands beside a target.
func met(ok bool) string {
	if ok {
		return "ok"
	}
	return "**missed**"
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func megabytes(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f MB", float64(bytes)/1e6)
}

// machine is what a reader must know of the machine.
func (b *bench) machine(ctx context.Context) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s, %d cores", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU())
	if cpus, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := strings.Cut(string(cpus), "model name"); ok {
			model, _, _ := strings.Cut(after, "\n")
			fmt.Fprintf(&s, " (%s)", strings.Trim(model, " \t:"))
		}
	}
	fmt.Fprintf(&s, ", %s/%s, %s", runtime.GOOS, runtime.GOARCH, runtime.Version())
	if out, err := exec.CommandContext(ctx, b.aws, "--version").Output(); err == nil {
		version, _, _ := strings.Cut(string(out), " ")
		fmt.Fprintf(&s, ", %s", version)
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		minute, _, _ := strings.Cut(string(load), " ")
		fmt.Fprintf(&s, ", load average %s at the start", minute)
	}
	return "Measured on " + s.String() + ".\n"
}

// markers are the lines between which a group's tables are written.
func markers(group string) (begin, end string) {
	return "<!-- make bench writes " + group + " from here -->", "<!-- to here: " + group + " -->"
}

// between returns the document with text in place of what is between the group's
// markers.
func between(document, group, text string) (string, error) {
	begin, end := markers(group)
	before, rest, ok := strings.Cut(document, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", errors.New("the markers are missing: a line " + begin + ", and below it a line " + end)
	}
	return before + begin + "\n\n" + text + "\n" + end + after, nil
}

func writeBetween(file, group, text string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	document, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	whole, err := between(string(document), group, text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(whole), info.Mode().Perm())
}
