package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/e2e/lab"
	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/stack"
)

// interruption is a way in which an up or a destroy is interrupted at one of
// its calls to AWS. Exactly one of fault and act is set.
type interruption struct {
	name string
	// fault is what the call meets.
	fault localaws.Fault
	// act is done once AWS has carried the call out, and before it answers.
	act func(*interrupted)
	// abrupt ends the run while calls are under way, so that the engine may not hear of
	// what they have made.
	abrupt bool
	// child runs the program in a process of its own, so that it can be killed.
	child bool
	// maxRetries is how often the provider tries: its own 25 last for minutes.
	maxRetries string
	// fast makes destroy write the state at its end only, as sandbox destroy does.
	fast bool
}

// interruptions are the ways, the harmless first.
var interruptions = []interruption{
	// As KMS throttles. S3 does by a 503; to a HEAD, whose answer has no code, a 400
	// is no reason to try again, and the run stops.
	{name: "throttled once", fault: localaws.Fault{Count: 1, Status: 400, Code: "ThrottlingException"}},
	{name: "server error once", fault: localaws.Fault{Count: 1, Status: 500, Code: "InternalError"}},
	{name: "connection dropped once", fault: localaws.Fault{Count: 1, Drop: true}},
	{name: "answer lost once", fault: localaws.Fault{Count: 1, DropAnswer: true}},
	{name: "access denied once", fault: localaws.Fault{Count: 1, Status: 403, Code: "AccessDenied"}},
	{name: "AWS down from here on", act: func(i *interrupted) { i.lab.AWS.Inject(localaws.Fault{Drop: true}) }, maxRetries: "1"},
	{name: "AWS down for a minute", act: func(i *interrupted) {
		i.lab.AWS.Inject(localaws.Fault{Drop: true})
		time.AfterFunc(time.Minute, i.lab.AWS.ClearFaults)
	}},
	{name: "Ctrl-C", act: func(i *interrupted) { i.cancel() }},
	{name: "Ctrl-C twice", act: func(i *interrupted) {
		for range 2 {
			i.signal(syscall.SIGINT, "engine")
			time.Sleep(200 * time.Millisecond) // two signals that are pending at once are one
		}
	}, abrupt: true},
	{name: "program killed", act: func(i *interrupted) { i.kill("program") }, child: true, abrupt: true},
	{name: "provider killed", act: func(i *interrupted) { i.kill("provider") }, abrupt: true},
	{name: "engine killed", act: func(i *interrupted) { i.kill("engine") }, abrupt: true},
	{name: "engine and provider killed", act: func(i *interrupted) { i.kill("provider", "engine") }, abrupt: true},
}

func interruptionNamed(t *testing.T, name string) interruption {
	t.Helper()
	n := slices.IndexFunc(interruptions, func(i interruption) bool { return i.name == name })
	require.GreaterOrEqual(t, n, 0, name)
	return interruptions[n]
}

// deployment is a program that is interrupted.
type deployment struct {
	name    string
	program pulumi.RunFunc
	// outputs are those that name its keys and buckets, with what stands for each where
	// accounts are compared.
	outputs map[string]string
	alias   string // of its key
	trail   string // of an AuditTrail; empty for the stack
}

var (
	theStack = deployment{"stack", stack.Deploy, map[string]string{"keyId": "KEY", "bucketName": "BUCKET"}, "alias/masterclass-cmk", ""}
	anAudit  = deployment{"audit trail", auditTrail("audit", true), map[string]string{"keyId": "KEY", "bucketName": "LOGS", "resultsBucketName": "RESULTS"}, "alias/audit", "audit"}

	deployments = []deployment{theStack, anAudit}
)

// point is a call to AWS: the first of an operation, or the nth of all.
type point struct {
	operation string
	nth       int
}

func (p point) String() string { return cmp.Or(p.operation, "call "+strconv.Itoa(p.nth)) }

// interrupted is a lab in which something goes wrong.
type interrupted struct {
	of      deployment
	lab     *lab.Lab
	clients clients
	stack   *lab.Stack
	own     map[string]string // what stands for the IDs of keys and names of buckets, once an up was finished

	mu        sync.Mutex
	armed     bool
	how       interruption
	at        point
	seen      int             // calls since it was armed
	met       localaws.Call   // the call that was interrupted
	calls     map[string]bool // the operations called
	cancel    context.CancelFunc
	pidFile   string // the engine's process id
	child     int    // the program's, where it is a process of its own
	providers []int  // those that were at work

	delivered int // files in the bucket of log files

	// What it took to finish the job.
	residues []string
}

func newInterrupted(t *testing.T, of deployment, how interruption) *interrupted {
	t.Helper()
	i := &interrupted{of: of, how: how}
	i.lab = lab.New(t, func(o *localaws.Options) { o.Log, o.TrailDelivery = i.called, -1 })
	i.lab.FastDestroy = how.fast
	i.clients = look(t, i.lab)
	// The engine leaves its process id where it can be found.
	i.pidFile = filepath.Join(t.TempDir(), "pid")
	wrapped := filepath.Join(t.TempDir(), "pulumi")
	require.NoError(t, os.WriteFile(wrapped, fmt.Appendf(nil, "#!/bin/sh\necho $$ > '%s'\nexec '%s' \"$@\"\n", i.pidFile, i.lab.Tools.Pulumi), 0o755))
	tools := *i.lab.Tools
	tools.Pulumi = wrapped
	i.lab.Tools = &tools
	i.open(t, of.program)
	return i
}

func (i *interrupted) open(t *testing.T, program pulumi.RunFunc) {
	t.Helper()
	settings := map[string]string{}
	if i.how.maxRetries != "" {
		settings["aws:maxRetries"] = i.how.maxRetries
	}
	i.stack = i.lab.Stack(t, "sandbox", program, settings)
}

// called is told of every call to AWS that was carried out, before its answer.
func (i *interrupted) called(c localaws.Call) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.armed {
		return
	}
	i.seen++
	i.calls[c.Operation] = true
	switch {
	case i.how.act == nil: // the fault has met it
		if i.met.Operation == "" && (c.Status == 0 || c.Error != "" && c.Error == i.how.fault.Code) {
			i.met = c
		}
	case i.at.operation == c.Operation || i.at.nth == i.seen:
		if i.met.Operation == "" {
			i.met = c
			i.how.act(i)
		}
	}
}

// kill ends processes of the operation under way, as kill -9 does.
func (i *interrupted) kill(whom ...string) { i.signal(syscall.SIGKILL, whom...) }

// signal sends a signal to processes of the operation under way.
func (i *interrupted) signal(s syscall.Signal, whom ...string) {
	pid := i.enginePID()
	i.providers = children(pid)
	for _, who := range whom {
		victims := map[string][]int{"program": {i.child}, "engine": {pid}, "provider": i.providers}[who]
		for _, v := range victims {
			_ = syscall.Kill(v, s) // it may have ended
		}
	}
}

// enginePID is the process id of the last engine that was started.
func (i *interrupted) enginePID() int {
	text, err := os.ReadFile(i.pidFile)
	if err != nil {
		panic(err) // it is written before the engine runs
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		panic(err)
	}
	return pid
}

// children are the providers of an engine.
func children(pid int) []int {
	out, _ := exec.Command("pgrep", "-P", strconv.Itoa(pid), "-f", "pulumi-resource-aws").Output() // none is an error
	var pids []int
	for _, line := range strings.Fields(string(out)) {
		if n, err := strconv.Atoi(line); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// run runs up or destroy and interrupts it at a point. It returns whether it was
// interrupted at all, and what the engine printed.
func (i *interrupted) run(t *testing.T, operation string, at point) (bool, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	i.mu.Lock()
	i.armed, i.at, i.seen, i.met, i.cancel, i.child = true, at, 0, localaws.Call{}, cancel, 0
	i.calls = map[string]bool{}
	i.mu.Unlock()
	if i.how.act == nil {
		f := i.how.fault
		f.Operation, f.Skip = at.operation, max(at.nth-1, 0)
		i.lab.AWS.Inject(f)
	}
	var out string
	var err error
	if i.how.child {
		out, err = i.runChild(ctx, operation)
	} else if operation == "up" {
		out, err = i.stack.TryUp(ctx)
	} else {
		out, err = i.stack.TryDestroy(ctx)
	}
	i.lab.AWS.ClearFaults()
	i.settle(t)
	i.mu.Lock()
	i.armed = err != nil // AWS may still be at work on the last calls: finish disarms it
	met := i.met
	i.mu.Unlock()
	return met.Operation != "", out, err
}

// settle waits until the engine has ended. A provider whose engine was killed
// would notice only after minutes; nothing calls it any more.
func (i *interrupted) settle(t *testing.T) {
	t.Helper()
	pid := i.enginePID()
	require.Eventually(t, func() bool { return !alive(pid) }, time.Minute, 50*time.Millisecond, "the engine goes on for ever")
	for _, p := range i.providers {
		_ = syscall.Kill(p, syscall.SIGKILL)
	}
	i.providers = nil
}

// alive reports whether a process runs. One that has ended and whose parent was
// killed may stay on the list as a zombie.
func alive(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && !strings.HasPrefix(string(out), "Z")
}

// The variable by which a test process knows that it is the program to kill.
const childVariable = "KMS_BASELINE_E2E_CHILD"

type childArgs struct {
	Deployment string
	Operation  string
	Dir        string
	URL        string
	CAFile     string
	Tools      engine.Tools
	MaxRetries string
	Fast       bool
}

// runChild runs an operation with the program in another process.
func (i *interrupted) runChild(ctx context.Context, operation string) (string, error) {
	args, err := json.Marshal(childArgs{i.of.name, operation, i.lab.Paths.Dir, i.lab.AWS.URL(), i.lab.AWS.CAFile(), *i.lab.Tools, i.how.maxRetries, i.how.fast})
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestInterruptChild$", "-test.v")
	cmd.Env = append(os.Environ(), childVariable+"="+string(args))
	output, err := os.CreateTemp(i.lab.Paths.Dir, "child-") // not a pipe: the engine outlives the child and would hold it open
	if err != nil {
		return "", err
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return "", err
	}
	i.mu.Lock()
	i.child = cmd.Process.Pid
	i.mu.Unlock()
	err = cmd.Wait()
	text, readErr := os.ReadFile(output.Name())
	return string(text), errors.Join(err, readErr)
}

// TestInterruptChild is no test: it is the process that runChild starts.
func TestInterruptChild(t *testing.T) {
	t.Parallel()
	text := os.Getenv(childVariable)
	if text == "" {
		t.Skip("it is run by the tests of interruptions")
	}
	var args childArgs
	require.NoError(t, json.Unmarshal([]byte(text), &args))
	l := &lab.Lab{Tools: &args.Tools, Paths: engine.Paths{Dir: args.Dir}, FastDestroy: args.Fast}
	root, err := engine.FindRoot(".")
	require.NoError(t, err)
	l.Root = root
	l.Env = engine.Env(l.Tools, l.Paths, args.URL, args.CAFile)
	of := deployments[slices.IndexFunc(deployments, func(d deployment) bool { return d.name == args.Deployment })]
	i := interrupted{of: of, lab: l, how: interruption{maxRetries: args.MaxRetries}}
	i.open(t, of.program)
	if args.Operation == "up" {
		i.stack.Up(t)
	} else {
		i.stack.Destroy(t)
	}
}

// finish runs the operation again until it is done, as the documents say: up
// with a refresh, so that it sees what is half made; and with what the engine or
// AWS asks for, which i.residues says.
func (i *interrupted) finish(t *testing.T, operation string) {
	t.Helper()
	i.mu.Lock()
	i.armed = false
	i.mu.Unlock()
	const attempts = 6
	var refresh []optdestroy.Option
	if i.of.trail != "" { // the provider fails to delete a workgroup that is gone
		refresh = append(refresh, optdestroy.Refresh())
	}
	for range attempts {
		var out string
		var err error
		if operation == "up" {
			out, err = i.stack.TryUp(t.Context(), optup.Refresh())
		} else {
			out, err = i.stack.TryDestroy(t.Context(), refresh...)
		}
		if err == nil {
			return
		}
		switch {
		case auto.IsConcurrentUpdateError(err):
			i.residue("pulumi cancel")
			require.NoError(t, i.stack.Cancel(t.Context()))
		case strings.Contains(out, "AlreadyExistsException") && strings.Contains(out, "An alias with the name"):
			i.residue("delete the alias")
			_, err := i.clients.kms.DeleteAlias(t.Context(), &kms.DeleteAliasInput{AliasName: &i.of.alias})
			require.NoError(t, err)
		case operation == "up" && i.of.trail != "" && existsAlready(out) != nil:
			i.removeExisting(t, existsAlready(out))
		case operation == "destroy" && i.of.trail != "" && strings.Contains(out, "BucketNotEmpty"):
			i.emptyLogs(t)
		default:
			require.NoError(t, err, "the next %s does not finish the job:\n%s", operation, out)
		}
	}
	require.Fail(t, fmt.Sprintf("the job is not finished after %d attempts", attempts), strings.Join(i.residues, ", "))
}

// existing are the errors for a resource of an AuditTrail that exists, and the commands
// that delete it by hand.
var existing = []struct{ says, command string }{
	{"TrailAlreadyExistsException", "aws cloudtrail delete-trail --name audit"},
	{"WorkGroup audit already exists", "aws athena delete-work-group --work-group audit"},
	{"Database already exists", "aws glue delete-database --name audit"},
	{"Table already exists", "aws glue delete-table --database-name audit --name cloudtrail"},
}

// existsAlready are the commands for what stopped an up, as the documents have them.
func existsAlready(out string) (commands []string) {
	for _, e := range existing {
		if strings.Contains(out, e.says) {
			commands = append(commands, e.command)
		}
	}
	return commands
}

// removeExisting does as the documents say: what verify orphans prints, or, of a trail
// that logs, by hand.
func (i *interrupted) removeExisting(t *testing.T, byHand []string) {
	t.Helper()
	found, err := i.orphans(t)
	if err == nil {
		i.residue("deleted by hand")
		require.NoError(t, shell(t.Context(), i.lab, strings.Join(byHand, "\n"), nil))
		return
	}
	i.residue("verify orphans before the next up")
	require.NoError(t, shell(t.Context(), i.lab, found, nil))
}

// emptyLogs deletes what the trail has delivered: until then the bucket stays.
func (i *interrupted) emptyLogs(t *testing.T) {
	t.Helper()
	i.protected(t, false)
	removed := 0
	for bucket, what := range i.own {
		if what != "LOGS" {
			continue
		}
		pages := s3.NewListObjectVersionsPaginator(i.clients.s3, &s3.ListObjectVersionsInput{Bucket: &bucket})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			require.NoError(t, err)
			for _, v := range page.Versions {
				_, err := i.clients.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: v.Key, VersionId: v.VersionId})
				require.NoError(t, err)
				removed++
			}
		}
	}
	require.Equal(t, i.delivered, removed, "log files are lost")
}

func (i *interrupted) residue(what string) { i.residues = append(i.residues, what) }

// protected shows that nothing is less protected than it was: the default EBS
// key can be used, encryption by default is on where it was on, and no bucket
// with objects lacks its encryption, its policy, or its key.
func (i *interrupted) protected(t *testing.T, ebsWasOn bool) {
	t.Helper()
	ctx, c := t.Context(), i.clients
	on, ebsKey := c.ebs(t)
	require.True(t, on || !ebsWasOn, "EBS encryption by default has been switched off")
	usable := func(key string) {
		described, err := c.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
		require.NoError(t, err, key)
		require.Equal(t, kmstypes.KeyStateEnabled, described.KeyMetadata.KeyState, key)
	}
	if !strings.Contains(ebsKey, "alias/aws/ebs") {
		usable(ebsKey)
	}
	buckets, err := c.s3.ListBuckets(ctx, &s3.ListBucketsInput{})
	require.NoError(t, err)
	for _, b := range buckets.Buckets {
		objects, err := c.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: b.Name})
		require.NoError(t, err)
		if len(objects.Contents) == 0 {
			continue
		}
		encryption, err := c.s3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: b.Name})
		require.NoError(t, err)
		rule := encryption.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault
		require.Equal(t, s3types.ServerSideEncryptionAwsKms, rule.SSEAlgorithm)
		usable(*rule.KMSMasterKeyID)
		_, err = c.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: b.Name})
		require.NoError(t, err, "%s has lost its policy", *b.Name)
		_, err = c.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: b.Name})
		require.NoError(t, err, "%s has lost its public access block", *b.Name)
	}
}

// names takes the IDs of keys and the names of buckets from the outputs.
func (i *interrupted) names(t *testing.T) {
	t.Helper()
	outputs := i.stack.Values(t)
	i.own = map[string]string{}
	for name, what := range i.of.outputs {
		i.own[outputs[name].(string)] = what
	}
}

// left is the account as it is, in words that two accounts made alike share,
// without AWS's own keys, which come to be when they are needed; and the names
// of keys and buckets that no stack knows of.
func (i *interrupted) left(t *testing.T) (account string, orphans []string) {
	t.Helper()
	text, err := i.lab.AWS.Snapshot()
	require.NoError(t, err)
	var kinds map[string]map[string]map[string]any
	require.NoError(t, json.Unmarshal(text, &kinds))
	for name, key := range kinds["kmsKeys"] {
		switch {
		case key["Manager"] == "AWS":
			delete(kinds["kmsKeys"], name)
			text = regexp.MustCompile(`"KeyID": "`+key["ID"].(string)+`"`).ReplaceAll(text, []byte(`"KeyID": "AWS"`))
		case i.own[key["ID"].(string)] == "":
			if key["State"] != "PendingDeletion" {
				orphans = append(orphans, "a key")
			}
			delete(kinds["kmsKeys"], name)
		}
	}
	for name, alias := range kinds["kmsAliases"] {
		if strings.HasPrefix(alias["Name"].(string), "alias/aws/") {
			delete(kinds["kmsAliases"], name)
		}
	}
	for name := range kinds["s3Buckets"] {
		if i.own[name] == "" {
			orphans = append(orphans, "a bucket")
			delete(kinds["s3Buckets"], name)
		}
	}
	for name, object := range kinds["s3Objects"] {
		// An object that was written twice has two versions: the last counts.
		delete(kinds["s3Objects"], name)
		kinds["s3Objects"][strings.Split(name, "\x00")[0]] = object
	}
	for _, defaults := range kinds["ebsDefaults"] {
		if arn, ok := defaults["keyArn"].(string); ok && i.own[arn[strings.LastIndex(arn, "/")+1:]] == "" {
			defaults["keyArn"] = "AWS managed"
		}
	}
	for _, records := range kinds {
		for _, record := range records {
			for _, random := range []string{"ID", "VersionID", "Versions"} {
				delete(record, random)
			}
		}
	}
	out, err := json.MarshalIndent(kinds, "", "  ")
	require.NoError(t, err)
	slices.Sort(orphans)
	var replacements []string
	for name, what := range i.own {
		replacements = append(replacements, name, what)
	}
	return strings.NewReplacer(replacements...).Replace(string(out)), orphans
}

// halfMade reports whether a key or a bucket may have been made that the stack
// never heard of: the run ended abruptly before it was all made;
// or the answer to CreateKey was lost, so that the client called again and got a
// second key. Where AWS only fails, the stack keeps what is made so far.
func (i *interrupted) halfMade(what string) bool {
	if what == "a key" && i.met.Operation == "CreateKey" && i.how.fault.DropAnswer {
		return true
	}
	made, next := "CreateKey", "PutKeyPolicy"
	if what == "a bucket" {
		made, next = "CreateBucket", "PutBucketEncryption"
		if i.of.trail != "" { // one bucket may be complete when the other is made
			next = ""
		}
	}
	return i.how.abrupt && i.calls[made] && !i.calls[next]
}

// removeOrphans does as the documents say: it runs the commands that verify
// orphans prints.
func (i *interrupted) removeOrphans(t *testing.T) {
	t.Helper()
	found, _ := i.orphans(t)
	require.NoError(t, shell(t.Context(), i.lab, found, nil))
}

// orphans runs verify orphans, and returns what it prints, for sh. The error says that
// there are orphans.
func (i *interrupted) orphans(t *testing.T) (string, error) {
	t.Helper()
	args := []string{"orphans", "--trail", i.of.trail}
	if i.of.trail == "" {
		text, err := json.Marshal(i.stack.Values(t))
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "outputs.json")
		require.NoError(t, os.WriteFile(file, text, 0o600))
		args = []string{"orphans", "--outputs", file}
	}
	cmd := exec.CommandContext(t.Context(), command(t, "verify"), args...)
	cmd.Env = i.lab.Env.Environ(os.Environ())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		require.NoError(t, err, "%s%s", out, stderr.String())
	}
	return string(out), err
}

// undisturbed is the account after an up and after a destroy that nothing
// interrupted, and how many calls they made.
type undisturbed struct {
	up, down           string
	upCalls, downCalls int
}

func newUndisturbed(t *testing.T, of deployment) undisturbed {
	t.Helper()
	i := newInterrupted(t, of, interruption{act: func(*interrupted) {}})
	var u undisturbed
	_, out, err := i.run(t, "up", point{operation: "none"})
	require.NoError(t, err, out)
	u.upCalls = i.seen
	i.names(t)
	u.up, _ = i.left(t)
	_, out, err = i.run(t, "destroy", point{operation: "none"})
	require.NoError(t, err, out)
	u.downCalls = i.seen
	u.down, _ = i.left(t)
	return u
}

// once interrupts an up at one call, finishes it, interrupts the destroy at
// another call and finishes that, and shows that nothing was lost on the way.
// It returns what it took. With logs, a trail has delivered log files in between.
func once(t *testing.T, u undisturbed, of deployment, how interruption, up, down point, logs bool) (residues []string) {
	t.Helper()
	i := newInterrupted(t, of, how)
	for _, leg := range []struct {
		operation string
		at        point
		want      string
	}{{"up", up, u.up}, {"destroy", down, u.down}} {
		i.residues = nil
		i.open(t, of.program)
		if leg.operation == "destroy" && logs {
			i.deliver(t)
		}
		wasOn, _ := i.clients.ebs(t)
		met, out, err := i.run(t, leg.operation, leg.at)
		if !met { // reads that wait for AWS are not always as many
			require.NotZero(t, leg.at.nth, "%s: there was no %s to interrupt:\n%s", leg.operation, leg.at, out)
			if !logs {
				require.NoError(t, err, out)
			}
			i.residue("no such call")
		}
		i.protected(t, wasOn)
		result := "went on"
		if err != nil {
			result = "stopped"
			i.residue(map[string]string{"up": "needed up --refresh", "destroy": "needed another destroy"}[leg.operation])
			i.finish(t, leg.operation)
		}
		if leg.operation == "up" {
			i.names(t)
		}
		account, orphans := i.left(t)
		require.Equal(t, leg.want, account, "%s %s at %s", leg.operation, how.name, leg.at)
		if leg.operation == "up" {
			for _, o := range orphans {
				require.True(t, i.halfMade(o), "%s was left behind", o)
				i.residue("left " + o)
			}
			require.LessOrEqual(t, len(orphans), len(of.outputs), "left behind")
			i.removeOrphans(t)
			account, orphans = i.left(t)
			require.Equal(t, leg.want, account, "the stack is as it was, without the orphans")
			require.Empty(t, orphans, "verify orphans has found them all")
		}
		t.Logf("%s, %s at %s (%s): %s %v", how.name, leg.operation, leg.at, i.met.Operation, result, i.residues)
		residues = append(residues, i.residues...)
	}
	return residues
}

// deliver delivers log files.
func (i *interrupted) deliver(t *testing.T) {
	t.Helper()
	require.NoError(t, i.lab.AWS.DeliverTrails())
	for bucket, what := range i.own {
		if what == "LOGS" {
			out, err := i.clients.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
			require.NoError(t, err)
			i.delivered = len(out.Contents)
		}
	}
	require.NotZero(t, i.delivered)
}

// One call of each leg for each way; TestSoak has all of them.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	u := newUndisturbed(t, theStack)
	for _, c := range []struct{ how, up, down string }{
		{"throttled once", "PutBucketEncryption", "DeleteBucket"},
		{"server error once", "CreateBucket", "ResetEbsDefaultKmsKeyId"},
		{"connection dropped once", "PutKeyPolicy", "DeleteAlias"},
		{"answer lost once", "CreateKey", "ScheduleKeyDeletion"},
		{"answer lost once", "CreateAlias", "DeleteBucket"},
		{"access denied once", "ModifyEbsDefaultKmsKeyId", "DeleteBucket"},
		{"AWS down from here on", "CreateKey", "ResetEbsDefaultKmsKeyId"},
		{"AWS down from here on", "CreateBucket", "DeleteAlias"},
		{"AWS down for a minute", "CreateBucket", "DeleteAlias"},
		{"Ctrl-C", "CreateBucket", "DeleteBucket"},
		{"Ctrl-C twice", "CreateKey", "DeleteBucket"},
		{"program killed", "EnableKeyRotation", "DeleteAlias"},
		{"provider killed", "PutObject", "DeleteObject"},
		{"engine killed", "CreateKey", "ScheduleKeyDeletion"},
		{"provider killed", "CreateBucket", "DeleteBucket"},
		{"engine and provider killed", "EnableEbsEncryptionByDefault", "ResetEbsDefaultKmsKeyId"},
	} {
		t.Run(c.how+" at "+c.up+" and "+c.down, func(t *testing.T) {
			t.Parallel()
			once(t, u, theStack, interruptionNamed(t, c.how), point{operation: c.up}, point{operation: c.down}, false)
		})
	}
}

// The same with a destroy that writes the state at its end only.
func TestInterrupt_FastDestroy(t *testing.T) {
	t.Parallel()
	u := newUndisturbed(t, theStack)
	for _, c := range []struct{ how, down string }{
		{"access denied once", "DeleteBucket"},
		{"Ctrl-C", "DeleteBucket"},
		{"Ctrl-C twice", "DeleteBucket"},
		{"program killed", "DeleteObject"},
		{"provider killed", "DeleteAlias"},
		{"engine killed", "DeleteBucket"},
		{"engine killed", "ScheduleKeyDeletion"},
		{"engine and provider killed", "ResetEbsDefaultKmsKeyId"},
	} {
		t.Run(c.how+" at "+c.down, func(t *testing.T) {
			t.Parallel()
			how := interruptionNamed(t, c.how)
			how.fast = true
			once(t, u, theStack, how, point{operation: "CreateAlias"}, point{operation: c.down}, false)
		})
	}
}

// After a destroy whose engine was killed, an up that is not told to refresh does not
// take for there what is gone.
func TestInterrupt_KilledFastDestroyThenUp(t *testing.T) {
	t.Parallel()
	u := newUndisturbed(t, theStack)
	how := interruptionNamed(t, "engine killed")
	how.fast = true
	i := newInterrupted(t, theStack, how)
	i.stack.Up(t)
	met, out, err := i.run(t, "destroy", point{operation: "ScheduleKeyDeletion"})
	require.True(t, met, out)
	require.Error(t, err)
	i.mu.Lock()
	i.armed = false
	i.mu.Unlock()
	require.NoError(t, i.stack.Cancel(t.Context()))
	i.stack.Up(t)
	i.names(t)
	account, orphans := i.left(t)
	require.Equal(t, u.up, account)
	require.Empty(t, orphans)
	require.True(t, i.stack.Preview(t).Clean())
}

// The same for an AuditTrail: the names of its trail, workgroup, database and table are
// fixed. A destroy never takes a bucket with log files, nor anything of its protection.
func TestInterrupt_AuditTrail(t *testing.T) {
	t.Parallel()
	u := newUndisturbed(t, anAudit)
	for _, c := range []struct {
		how, up, down string
		logs          bool
	}{
		{"Ctrl-C", "CreateBucket", "DeleteTrail", true},
		{"answer lost once", "CreateTrail", "DeleteTable", true},
		{"engine killed", "StartLogging", "DeleteTrail", true},
		{"engine killed", "CreateWorkGroup", "DeleteWorkGroup", true},
		{"engine killed", "CreateTable", "ScheduleKeyDeletion", false},
		{"engine and provider killed", "CreateTrail", "DeleteTrail", true},
		{"engine and provider killed", "CreateDatabase", "DeleteDatabase", false},
		{"provider killed", "CreateBucket", "DeleteBucket", false},
	} {
		t.Run(fmt.Sprintf("%s at %s and %s, with log files %v", c.how, c.up, c.down, c.logs), func(t *testing.T) {
			t.Parallel()
			once(t, u, anAudit, interruptionNamed(t, c.how), point{operation: c.up}, point{operation: c.down}, c.logs)
		})
	}
}

// A key that could be made and not be told to rotate never passes for complete:
// not for the next up either, which is not told to refresh.
func TestInterrupt_KeyWithoutRotation(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", stack.Deploy, nil)
	l.AWS.Inject(localaws.Fault{Operation: "EnableKeyRotation", Count: 1, Status: 400, Code: "AccessDeniedException"})
	out, err := s.TryUp(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "AccessDeniedException")
	out, err = s.TryUp(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "does not rotate yet: run pulumi up again")
	outputs := s.Up(t)
	status, err := look(t, l).kms.GetKeyRotationStatus(t.Context(), &kms.GetKeyRotationStatusInput{KeyId: aws.String(outputs["keyArn"].(string))})
	require.NoError(t, err)
	require.True(t, status.KeyRotationEnabled)
	require.True(t, s.Preview(t).Clean())
}

// Nor does a bucket that could be made and not be tagged.
func TestInterrupt_BucketWithoutTags(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.Stack(t, "sandbox", stack.Deploy, nil)
	l.AWS.Inject(localaws.Fault{Operation: "PutBucketTagging", Count: 1, Status: 403, Code: "AccessDenied"})
	out, err := s.TryUp(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "AccessDenied")
	out, err = s.TryUp(t.Context())
	require.Error(t, err)
	require.Contains(t, out, "does not have its tags yet: run pulumi up again")
	bucket := s.Up(t)["bucketName"].(string)
	tags, err := look(t, l).s3.GetBucketTagging(t.Context(), &s3.GetBucketTaggingInput{Bucket: &bucket})
	require.NoError(t, err)
	require.Len(t, tags.TagSet, 1)
	require.True(t, s.Preview(t).Clean())
}
