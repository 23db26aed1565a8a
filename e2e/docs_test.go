package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// documentedPages are the pages whose commands are run. docs/course.md is run by the
// course's own test.
var documentedPages = []string{"README.md", "examples/README.md", "plugin/README.md", "examples/audit-trail/README.md", "examples/replicated-pair/README.md"}

// fence is a fenced block of commands. What follows "sh" states why a block is not
// run: real-aws needs an AWS account, in-ci is what CI runs itself.
var fence = regexp.MustCompile("(?ms)^```(sh|console)(?: ([a-z-]+))?\n(.*?)^```$")

// Every command of the pages runs as it is written, in order, in a copy of the
// project. The sandbox's default port must be free.
func TestDocs_CommandsRunAsWritten(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:4566")
	if err != nil {
		t.Skipf("the sandbox's default port is in use, by a sandbox of your own perhaps: %v", err)
	}
	require.NoError(t, listener.Close())
	root, err := engine.FindRoot(".")
	require.NoError(t, err)
	_, err = engine.Install(t.Context(), root, os.Stderr)
	require.NoError(t, err)
	aws, err := engine.InstallAWSCLI(t.Context(), root, os.Stderr)
	require.NoError(t, err)
	project := copyProject(t, root)
	t.Cleanup(func() { // where a command failed before the page stops it
		_ = exec.Command(filepath.Join(project, "bin", "sandbox"), "reset", "--dir", filepath.Join(project, ".sandbox")).Run() //nolint:noctx // after the test
	})

	ran := 0
	for _, page := range documentedPages {
		text, err := os.ReadFile(filepath.Join(root, page))
		require.NoError(t, err)
		for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
			switch m[2] {
			case "":
			case "real-aws", "in-ci":
				continue
			default:
				t.Errorf("%s: %q is no reason not to run a block", page, m[2])
			}
			require.Equal(t, "sh", m[1], "%s: a block to run is marked sh, and has no prompts:\n%s", page, m[3])
			cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", m[3])
			cmd.Dir = project
			cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(aws)+string(os.PathListSeparator)+os.Getenv("PATH"), "AWS_ACCESS_KEY_ID=AKIAREAL", "AWS_ENDPOINT_URL=http://127.0.0.1:1")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s:\n%s\n%s", page, m[3], out)
			ran++
		}
	}
	require.GreaterOrEqual(t, ran, 2)

	status := exec.CommandContext(t.Context(), "git", "status", "--short")
	status.Dir = project
	changed, err := status.Output()
	require.NoError(t, err)
	require.Empty(t, string(changed), "the commands change no tracked file and leave no untracked one")
}

// copyProject copies the files that git knows, with the installed engine and
// provider, and commits them.
func copyProject(t *testing.T, root string) string {
	t.Helper()
	project := filepath.Join(t.TempDir(), "project")
	require.NoError(t, os.Mkdir(project, 0o700))
	script := fmt.Sprintf(`cd %[1]s && git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%%s\0" "$f"; done' sh | tar -c --null -T - | tar -x -C %[2]s
cd %[2]s && mkdir .sandbox
for f in bin pulumi-home langhost awscli upstream pulumi-engine.stamp aws-provider.stamp go-host.stamp aws-cli.stamp; do
  [ ! -e %[1]s/.sandbox/"$f" ] || ln -s "$(readlink -f %[1]s/.sandbox/"$f")" .sandbox/"$f"
done
git init -q && git add -A && git -c user.name=test -c user.email=test@example.com commit -q -m copy`, engine.ShellQuote(root), engine.ShellQuote(project))
	out, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script).CombinedOutput()
	require.NoError(t, err, string(out))
	return project
}
