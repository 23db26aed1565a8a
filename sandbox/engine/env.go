package engine

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Paths are the places of one sandbox: several can run beside each other, each
// with a folder of its own.
type Paths struct {
	// Dir holds everything of the sandbox but its programs. The default is the
	// project's .sandbox.
	Dir string
}

// State is localaws's data.
func (p Paths) State() string { return filepath.Join(p.Dir, "state") }

// Certs is the folder of localaws's certificate authority.
func (p Paths) Certs() string { return filepath.Join(p.Dir, "certs") }

// CAFile is the PEM file of that authority, for AWS_CA_BUNDLE.
func (p Paths) CAFile() string { return filepath.Join(p.Certs(), "ca.pem") }

// Backend holds the state of the sandbox's stacks.
func (p Paths) Backend() string { return filepath.Join(p.Dir, "backend") }

// stackFile is where the CLI keeps a stack's state in that backend.
// Source: https://www.pulumi.com/docs/iac/concepts/state-and-backends/#using-a-self-managed-backend
func (p Paths) stackFile(project, stack string) string {
	return filepath.Join(p.Backend(), ".pulumi", "stacks", project, stack+".json")
}

// work is where a stack's project and configuration are laid out.
func (p Paths) work(project, stack string) string {
	return filepath.Join(p.Dir, "work", project, stack)
}

// Environment is what a client of the sandbox needs: variables to set, and those
// of the caller's to drop. All of the caller's AWS_ and PULUMI_ variables are
// dropped, so that no profile, token or endpoint of a real account comes in.
type Environment struct {
	vars map[string]string
}

// The account and the credentials of the sandbox. localaws takes a 12-digit
// access key id for the account.
const (
	AccountID = "123456789012"
	Region    = "us-east-1"

	secretAccessKey = "sandbox"
	passphrase      = "sandbox"
)

// Env is the environment of a client of the localaws at endpoint, whose certificate
// authority is in the PEM file caFile (empty for plain HTTP). Without tools, it is
// that of an AWS client alone.
func Env(tools *Tools, paths Paths, endpoint, caFile string) Environment {
	vars := map[string]string{
		"AWS_ENDPOINT_URL":            endpoint,
		"AWS_ENDPOINT_URL_S3_CONTROL": controlURL(endpoint),
		"AWS_ACCESS_KEY_ID":           AccountID,
		"AWS_SECRET_ACCESS_KEY":       secretAccessKey,
		"AWS_REGION":                  Region,
		"AWS_DEFAULT_REGION":          Region,
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_PAGER":                   "",
	}
	if caFile != "" {
		vars["AWS_CA_BUNDLE"] = caFile
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		vars[name] = withLoopback(os.Getenv(name))
	}
	if tools != nil {
		// The backend would write a .attrs file beside the state, and not at once:
		// a CLI that is killed meanwhile leaves an empty one, and every later
		// command says "failed to load checkpoint: EOF".
		backend := "file://" + filepath.ToSlash(paths.Backend()) + "?metadata=skip"
		maps.Copy(vars, map[string]string{
			"PULUMI_HOME":                                 tools.PulumiHome,
			"PULUMI_BACKEND_URL":                          backend,
			"PULUMI_CONFIG_PASSPHRASE":                    passphrase,
			"PULUMI_SKIP_UPDATE_CHECK":                    "true",
			"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
			"PATH": strings.Join(append([]string{firstOnPath(tools.Bin, os.Getenv("PATH"))}, tools.Hosts...), string(os.PathListSeparator)),
		})
	}
	return Environment{vars: vars}
}

// controlURL is the endpoint of S3 Control. The SDKs put ACCOUNT. in front of it:
//
//   - For botocore, and so the AWS CLI, that makes ACCOUNT.sandbox the user name of
//     the URL, which is not sent, and leaves the host.
//   - The other SDKs leave the user name out and call ACCOUNT.localhost, which some
//     systems resolve to loopback (RFC 6761); none resolves ACCOUNT.127.0.0.1.
func controlURL(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint // the clients report it
	}
	u.User = url.User("sandbox")
	if host := u.Hostname(); host == "127.0.0.1" || host == "::1" {
		u.Host = net.JoinHostPort("localhost", u.Port())
	}
	return u.String()
}

// withLoopback keeps clients from asking a proxy for the sandbox.
func withLoopback(noProxy string) string {
	hosts := slices.DeleteFunc(strings.Split(noProxy, ","), func(h string) bool { return h == "" })
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return strings.Join(hosts, ",")
}

// firstOnPath puts dir first, once.
func firstOnPath(dir, path string) string {
	dirs := slices.DeleteFunc(filepath.SplitList(path), func(d string) bool { return d == dir })
	return strings.Join(append([]string{dir}, dirs...), string(os.PathListSeparator))
}

// With returns a copy with one variable set otherwise.
func (e Environment) With(name, value string) Environment {
	vars := maps.Clone(e.vars)
	vars[name] = value
	return Environment{vars: vars}
}

// Get returns a variable that the environment sets.
func (e Environment) Get(name string) string { return e.vars[name] }

// LookPath finds a program as a shell with this environment would.
func (e Environment) LookPath(name string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(cmp.Or(e.vars["PATH"], os.Getenv("PATH"))) {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// Environ is base, in the form of os.Environ, as the sandbox's client needs it.
func (e Environment) Environ(base []string) []string {
	env := slices.DeleteFunc(slices.Clone(base), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		_, set := e.vars[name]
		return set || dropped.MatchString(name)
	})
	for _, name := range slices.Sorted(maps.Keys(e.vars)) {
		env = append(env, name+"="+e.vars[name])
	}
	return env
}

// Exports is the environment as a POSIX shell's commands, for eval: it unsets
// what base has and the sandbox must not, and sets the rest.
func (e Environment) Exports(base []string) string {
	var b strings.Builder
	for _, name := range e.unwanted(base) {
		fmt.Fprintf(&b, "unset %s\n", name)
	}
	for _, name := range slices.Sorted(maps.Keys(e.vars)) {
		fmt.Fprintf(&b, "export %s=%s\n", name, ShellQuote(e.vars[name]))
	}
	return b.String()
}

// Closed is an environment with which every AWS client and Pulumi fail: the
// endpoint refuses connections and the credentials are none. A shell that
// evaluates what a failed command printed must not go on with the caller's own
// account.
func Closed() Environment {
	e := Env(&Tools{PulumiHome: os.DevNull}, Paths{Dir: os.DevNull}, "https://127.0.0.1:1", os.DevNull)
	delete(e.vars, "PATH")
	e.vars["AWS_ACCESS_KEY_ID"] = "the-sandbox-is-not-available"
	e.vars["AWS_SECRET_ACCESS_KEY"] = "the-sandbox-is-not-available"
	return e
}

// Apply makes the environment this process's own. A program that runs in this
// process, and the delete hooks that it registers, call AWS from it: without
// this they would call whichever account the caller's credentials are for.
func (e Environment) Apply() error {
	for _, name := range e.unwanted(os.Environ()) {
		if err := os.Unsetenv(name); err != nil {
			return fmt.Errorf("taking %s out of the environment: %w", name, err)
		}
	}
	for name, value := range e.vars {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("setting %s in the environment: %w", name, err)
		}
	}
	return nil
}

// unwanted names what base has and the sandbox must not, in order.
func (e Environment) unwanted(base []string) []string {
	var names []string
	for _, entry := range base {
		name, _, _ := strings.Cut(entry, "=")
		if _, set := e.vars[name]; !set && dropped.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

var dropped = regexp.MustCompile(`^(AWS|PULUMI)_[A-Za-z0-9_]*$`)

// ShellQuote quotes a word for a POSIX shell.
func ShellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
