// Package trino runs a Trino server over the S3 and the Glue Data Catalog of a
// localaws, for tests and demonstrations. Its catalogs have Athena's names.
package trino

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// The server's catalogs.
const (
	// GlueCatalog has the tables of localaws's Glue Data Catalog in the Region of
	// [Options].
	GlueCatalog = "awsdatacatalog"
	// TablesCatalog has Iceberg tables, as S3 Tables has them of S3 Metadata. Its
	// table definitions are in the server's own folder.
	TablesCatalog = "s3tablescatalog/aws-s3"
)

// memory is the size of the server's heap.
const memory = "2G"

// startTime bounds how long a start may take: it is half a minute on two cores.
const startTime = 4 * time.Minute

// Options say which AWS the server reads.
type Options struct {
	// URL is localaws's address over HTTPS, and CAFile its certificate authority.
	URL, CAFile string
	// Region is the Region of the Glue Data Catalog. Required.
	Region string
	// AccessKey is the caller that the server is in localaws, for Glue and S3: an
	// account ID, or a user's name. Required.
	AccessKey string
	// Dir is an empty folder for the configuration, the log and the data. Required.
	Dir string
	// Addr is HOST:PORT to listen on; the default is a free port of 127.0.0.1.
	Addr string
}

// Server is a running Trino.
type Server struct {
	URL  string // http://127.0.0.1:PORT
	cmd  *exec.Cmd
	life io.Closer // the server lives as long as this is open
	log  string
	end  chan error
	stop sync.Once
}

// Start starts a server and returns once it answers. The server listens on
// loopback without authentication. It ends with [Server.Stop], or with this
// process, however that ends. It runs on systems with a POSIX shell.
func Start(ctx context.Context, program engine.Trino, o Options) (*Server, error) {
	if o.Addr == "" {
		addr, err := FreeAddr(ctx)
		if err != nil {
			return nil, err
		}
		o.Addr = addr
	}
	if err := configure(ctx, program, o); err != nil {
		return nil, fmt.Errorf("configuring Trino: %w", err)
	}
	s := &Server{URL: "http://" + o.Addr, log: filepath.Join(o.Dir, "server.log"), end: make(chan error, 1)}
	if err := s.run(program, o); err != nil {
		return nil, fmt.Errorf("starting Trino: %w", err)
	}
	err := s.await(ctx)
	for _, catalog := range o.catalogs() {
		if err == nil {
			err = s.Execute(ctx, catalog)
		}
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// Stop ends the server.
func (s *Server) Stop() {
	s.stop.Do(func() {
		_ = s.life.Close()
		<-s.end //nolint:errcheck // it was told to end
	})
}

// FreeAddr is a free port of 127.0.0.1, for [Options.Addr] where localaws must know
// it before the server starts.
func FreeAddr(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// trustPassword is Java's customary password for a store of certificates, which
// hold no secret.
const trustPassword = "changeit"

func (o Options) trustStore() string { return filepath.Join(o.Dir, "trust.p12") }

func configure(ctx context.Context, program engine.Trino, o Options) error {
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return err
	}
	config := map[string][]string{
		"config.properties": {
			"coordinator=true", "node-scheduler.include-coordinator=true",
			"http-server.http.port=" + port, "discovery.uri=http://" + o.Addr,
			"catalog.management=dynamic", "catalog.store=memory",
			"query.max-memory=1GB", "query.max-memory-per-node=1GB",
		},
		"node.properties": {
			"node.environment=sandbox", "node.id=sandbox", "node.data-dir=" + filepath.Join(o.Dir, "data"),
			"node.bind-ip=" + host, "node.internal-address=" + host,
		},
		"log.properties": {"io.trino=WARN"},
	}
	for _, dir := range []string{"data", "tables"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, dir), 0o700); err != nil {
			return err
		}
	}
	for name, lines := range config {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return err
		}
	}
	keytool := exec.CommandContext(ctx, filepath.Join(program.Java, "bin", "keytool"), "-importcert", "-noprompt", "-alias", "localaws",
		"-file", o.CAFile, "-storetype", "PKCS12", "-keystore", o.trustStore(), "-storepass", trustPassword)
	if out, err := keytool.CombinedOutput(); err != nil {
		return fmt.Errorf("keytool: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// babysit runs its arguments until they end, or standard input does.
const babysit = `exec 3<&0
"$@" 3<&- </dev/null & server=$!
{ cat <&3 >/dev/null; kill -9 $server; } 2>/dev/null &
exec 3<&-
wait $server`

func (s *Server) run(program engine.Trino, o Options) error {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()                                    // the server has its own
	s.cmd = exec.Command("/bin/sh", "-c", babysit, "sh", //nolint:noctx // it ends with s.life
		filepath.Join(program.Java, "bin", "java"), "-Xmx"+memory, "-XX:+ExitOnOutOfMemoryError",
		"--add-modules=jdk.incubator.vector", "-Djdk.attach.allowAttachSelf=true",
		"-Djavax.net.ssl.trustStore="+o.trustStore(), "-Djavax.net.ssl.trustStorePassword="+trustPassword,
		"-Dlog.levels-file="+filepath.Join(o.Dir, "log.properties"), "-Dconfig="+filepath.Join(o.Dir, "config.properties"),
		"-Dplugin.dir="+filepath.Join(program.Dir, "plugin"), "-Dnode.config="+filepath.Join(o.Dir, "node.properties"),
		"-cp", filepath.Join(program.Dir, "lib", "*"), "io.trino.server.TrinoServer")
	properties, err := os.ReadFile(filepath.Join(o.Dir, "node.properties"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(properties)) { // as Trino's launcher passes them
		s.cmd.Args = append(s.cmd.Args[:5], append([]string{"-D" + strings.TrimSpace(line)}, s.cmd.Args[5:]...)...)
	}
	s.cmd.Dir = o.Dir
	s.cmd.Stdout, s.cmd.Stderr = log, log
	engine.OwnGroup(s.cmd)
	life, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	s.life = life
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() { s.end <- s.cmd.Wait(); close(s.end) }()
	return nil
}

// await returns once the server takes queries.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		var info struct{ Starting bool }
		if err := call(ctx, http.MethodGet, s.URL+"/v1/info", "", &info); err == nil && !info.Starting {
			return nil
		}
		select {
		case err := <-s.end:
			return s.explain(fmt.Errorf("Trino ended before it answered: %w", exitOf(err)))
		case <-ctx.Done():
			return s.explain(fmt.Errorf("waiting for Trino: %w", context.Cause(ctx)))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func exitOf(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// explain adds the end of the server's log.
func (s *Server) explain(err error) error {
	log, _ := os.ReadFile(s.log) // without it the error stands alone
	if n := 4000; len(log) > n {
		log = log[len(log)-n:]
	}
	return fmt.Errorf("%w\n%s", err, log)
}

// catalogs are the statements that make the catalogs. A file of properties could
// not have a name with a slash.
func (o Options) catalogs() []string {
	s3 := map[string]string{
		"fs.native-s3.enabled": "true", "s3.endpoint": o.URL, "s3.region": o.Region, "s3.path-style-access": "true",
		"s3.aws-access-key": o.AccessKey, "s3.aws-secret-key": "sandbox",
	}
	glue := map[string]string{
		"hive.metastore": "glue", "hive.metastore.glue.region": o.Region, "hive.metastore.glue.endpoint-url": o.URL,
		"hive.metastore.glue.aws-access-key": o.AccessKey, "hive.metastore.glue.aws-secret-key": "sandbox",
		"hive.partition-projection-enabled": "true", "hive.table-statistics-enabled": "false",
	}
	tables := map[string]string{
		"iceberg.catalog.type": "TESTING_FILE_METASTORE", "hive.metastore.catalog.dir": "local:///tables",
		"fs.native-local.enabled": "true", "local.location": o.Dir,
	}
	for k, v := range s3 {
		glue[k], tables[k] = v, v
	}
	return []string{createCatalog(GlueCatalog, "hive", glue), createCatalog(TablesCatalog, "iceberg", tables)}
}

func createCatalog(name, connector string, properties map[string]string) string {
	var list []string
	for k, v := range properties {
		list = append(list, fmt.Sprintf(`"%s" = '%s'`, k, strings.ReplaceAll(v, "'", "''")))
	}
	return fmt.Sprintf(`CREATE CATALOG "%s" USING %s WITH (%s)`, name, connector, strings.Join(list, ", "))
}

// Execute runs a statement and drops its rows, if there are any.
func (s *Server) Execute(ctx context.Context, statement string) error {
	var page struct {
		NextURI string
		Error   *struct{ Message string }
	}
	err := call(ctx, http.MethodPost, s.URL+"/v1/statement", statement, &page)
	for err == nil && page.Error == nil && page.NextURI != "" {
		next := page.NextURI
		page.NextURI = ""
		err = call(ctx, http.MethodGet, next, "", &page)
	}
	if err == nil && page.Error != nil {
		err = errors.New(page.Error.Message)
	}
	if err != nil {
		return s.explain(fmt.Errorf("Trino: %w", err))
	}
	return nil
}

func call(ctx context.Context, method, url, body string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Trino-User", "sandbox")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
