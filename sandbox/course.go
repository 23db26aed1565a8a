package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

func newCourse(at *place) *cobra.Command {
	return &cobra.Command{
		Use:   "course",
		Short: "Walk through the course, one key press for each command",
		Long: `Shows docs/course.md and runs its commands with the AWS CLI and verify, in an
account of its own on this machine, one key press for each. Each output is
compared with the page. It exits with 0 only if every command did what the page
says, and leaves nothing running. It needs bash.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, paths, err := at.project()
			if err != nil {
				return err
			}
			c := &course{out: cmd.OutOrStdout(), progress: cmd.ErrOrStderr(), in: cmd.InOrStdin(), root: root}
			return c.run(cmd.Context(), paths.Dir)
		},
	}
}

// course is one walk through docs/course.md.
type course struct {
	out, progress io.Writer
	in            io.Reader
	root          string
	env           []string
	dir           string // where the commands run
	commands      int    // run so far
}

// lesson is a part of the course: prose, or a command with what it prints.
type lesson struct {
	prose   string
	command string
	fails   bool   // the command is to fail
	output  string // what the command prints; "..." stands for any text
}

// errQuit ends the course at the reader's request.
var errQuit = errors.New("the course was ended")

func (c *course) run(ctx context.Context, dir string) error {
	page, err := os.ReadFile(filepath.Join(c.root, "docs", "course.md"))
	if err != nil {
		return err
	}
	lessons, err := parseCourse(string(page))
	if err != nil {
		return fmt.Errorf("docs/course.md: %w", err)
	}
	cli, err := engine.InstallAWSCLI(ctx, c.root, c.progress)
	if err != nil {
		return err
	}
	verify, err := buildVerify(ctx, c.root, c.progress)
	if err != nil {
		return err
	}
	return inOwnAccount(dir, func(paths engine.Paths, server *localaws.Server) error {
		env := engine.Env(nil, paths, server.URL(), server.CAFile())
		path := strings.Join([]string{filepath.Dir(cli), filepath.Dir(verify), os.Getenv("PATH")}, string(os.PathListSeparator))
		c.env = append(env.With("PATH", path).Environ(os.Environ()), "COURSE_STATE="+filepath.Join(paths.Dir, "variables"), "NO_COLOR=1")
		c.dir = filepath.Join(paths.Dir, "work")
		if err := os.Mkdir(c.dir, 0o700); err != nil {
			return err
		}
		return c.play(ctx, lessons)
	})
}

// play goes through the lessons.
func (c *course) play(ctx context.Context, lessons []lesson) error {
	for _, l := range lessons {
		if l.command == "" {
			fmt.Fprintf(c.out, "%s\n", l.prose)
			continue
		}
		if err := c.teach(ctx, l); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.out, "That was the course: %d commands, each as the page says. Nothing is left of its account.\n", c.commands)
	return nil
}

// teach shows a command, waits for a key press, and runs it.
func (c *course) teach(ctx context.Context, l lesson) error {
	fmt.Fprintf(c.out, "  $ %s\n\n[Enter runs it, q ends the course] ", strings.ReplaceAll(l.command, "\n", "\n    "))
	key, err := c.key(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(c.out, "\n\n")
	if key == 'q' {
		return errQuit
	}
	// Each command runs in a shell of its own; the variables that it sets are handed on
	// in a file.
	script := `set -a; [ ! -f "$COURSE_STATE" ] || . "$COURSE_STATE"
trap 'code=$?; export -p > "$COURSE_STATE"; exit $code' EXIT
` + l.command
	var printed bytes.Buffer
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env = c.dir, c.env
	cmd.Stdout = io.MultiWriter(c.out, &printed)
	cmd.Stderr = cmd.Stdout
	err = cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	fmt.Fprintln(c.out)
	c.commands++
	switch {
	case l.fails && err == nil:
		return fmt.Errorf("docs/course.md says that this command fails, and it did not:\n%s", l.command)
	case !l.fails && err != nil:
		return fmt.Errorf("this command of docs/course.md failed (%w):\n%s", err, l.command)
	case l.output != "" && !matchesOutput(l.output, printed.String()):
		return fmt.Errorf("this command of docs/course.md printed something else than the page says:\n%s\nexpected:\n%s", l.command, l.output)
	}
	return nil
}

// key waits for a key press; without a terminal, for a line.
func (c *course) key(ctx context.Context) (byte, error) {
	type pressed struct {
		key byte
		err error
	}
	done := make(chan pressed, 1)
	go func() {
		b, err := c.readKey()
		done <- pressed{b, err}
	}()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case p := <-done:
		return p.key, p.err
	}
}

func (c *course) readKey() (byte, error) {
	if f, ok := c.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		before, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			return 0, err
		}
		var b [1]byte
		_, err = f.Read(b[:])
		err = errors.Join(err, term.Restore(int(f.Fd()), before))
		const ctrlC, ctrlD = 3, 4
		if b[0] == ctrlC || b[0] == ctrlD {
			return 'q', err
		}
		return b[0], err
	}
	var b [1]byte
	first := byte(0)
	for {
		if _, err := c.in.Read(b[:]); err != nil {
			return 0, fmt.Errorf("the input ended before the course: %w", err)
		}
		if b[0] == '\n' {
			return first, nil
		}
		if first == 0 {
			first = b[0]
		}
	}
}

// parseCourse reads the page: the prose, the fenced commands (sh; "sh fails" is to
// fail) and what they print (text).
func parseCourse(page string) ([]lesson, error) {
	var lessons []lesson
	var prose, block strings.Builder
	fence := ""
	flush := func() {
		if text := strings.TrimSpace(prose.String()); text != "" {
			lessons = append(lessons, lesson{prose: text + "\n"})
		}
		prose.Reset()
	}
	scan := bufio.NewScanner(strings.NewReader(page))
	for n := 1; scan.Scan(); n++ {
		line := scan.Text()
		info, isFence := strings.CutPrefix(line, "```")
		switch {
		case !isFence && fence == "":
			prose.WriteString(line + "\n")
		case !isFence:
			block.WriteString(line + "\n")
		case fence == "" && (info == "sh" || info == "sh fails" || info == "text"):
			flush()
			fence = info
		case fence == "":
			return nil, fmt.Errorf("line %d: the fence %q is neither sh, sh fails nor text", n, info)
		default:
			text := strings.TrimSuffix(block.String(), "\n")
			block.Reset()
			switch last := len(lessons) - 1; {
			case fence != "text":
				lessons = append(lessons, lesson{command: text, fails: fence == "sh fails"})
			case last < 0 || lessons[last].command == "" || lessons[last].output != "":
				return nil, fmt.Errorf("line %d: this output follows no command", n)
			default:
				lessons[last].output = text
			}
			fence = ""
		}
	}
	if fence != "" {
		return nil, errors.New("the last fence is not closed")
	}
	flush()
	return lessons, scan.Err()
}

// matchesOutput reports whether a command printed what a page says. In the page
// "..." stands for any text, also of several lines.
func matchesOutput(page, printed string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(page)), `\.\.\.`, `.*`)
	return regexp.MustCompile(`(?s)^` + pattern + `$`).MatchString(strings.TrimSpace(printed))
}
