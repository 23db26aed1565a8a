package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every command of docs/course.md does what the page says: the course compares its
// exit code and its output with the page.
func TestCourse_RunsAsThePageSays(t *testing.T) {
	t.Parallel()
	var out, progress bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs([]string{"course", "--dir", filepath.Join(t.TempDir(), "course")})
	cmd.SetIn(strings.NewReader(strings.Repeat("\n", 50)))
	cmd.SetOut(&out)
	cmd.SetErr(&progress)
	require.NoError(t, cmd.ExecuteContext(t.Context()), "%s\n%s", progress.String(), out.String())
	require.Contains(t, out.String(), "That was the course: 12 commands")
}

func TestCourse_EndsWhereTheReaderEndsIt(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{"the course was ended": "\nq\n", "the input ended before the course": "\n"} {
		dir := filepath.Join(t.TempDir(), "course")
		var out bytes.Buffer
		cmd := newCommand()
		cmd.SetArgs([]string{"course", "--dir", dir})
		cmd.SetIn(strings.NewReader(in))
		cmd.SetOut(&out)
		cmd.SetErr(&bytes.Buffer{})
		require.ErrorContains(t, cmd.ExecuteContext(t.Context()), name)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, "the course leaves nothing behind")
	}
}

func TestCourse_FailsIfACommandDoesNotDoWhatThePageSays(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]string{
		"says that this command fails":        "```sh fails\ntrue\n```\n",
		"failed (exit status 3)":              "```sh\nexit 3\n```\n",
		"printed something else":              "```sh\necho a\n```\n```text\nb\n```\n",
		"":                                    "```sh\nA='it is'\n```\n```sh\necho \"$A kept\"\n```\n```text\n...is kept\n```\n",
		"the fence \"console\" is neither sh": "```console\n```\n",
		"this output follows no command":      "```text\nb\n```\n",
		"the last fence is not closed":        "```sh\ntrue\n",
	} {
		dir := t.TempDir()
		lessons, err := parseCourse(page)
		c := &course{out: &bytes.Buffer{}, in: strings.NewReader("\n\n"), dir: dir, env: append(os.Environ(), "COURSE_STATE="+filepath.Join(dir, "variables"))}
		for _, l := range lessons {
			if err == nil {
				err = c.teach(t.Context(), l)
			}
		}
		if name == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, name)
		}
	}
}
