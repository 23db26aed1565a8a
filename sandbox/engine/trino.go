package engine

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// trinoVersion is the newest Trino whose server and plugins are all on Maven
// Central as single archives.
const trinoVersion = "476"

// mavenCentral is where Trino's releases are.
const mavenCentral = "https://repo1.maven.org/maven2/io/trino"

// trinoArchives are the server and the plugins that the tests need, with the
// SHA-256 of each.
var trinoArchives = []struct{ name, kind, sha256, place string }{
	{"trino-server-core", "tar.gz", "0f388f9967c177ae70a47c099082fc95387f0c3cb96d8000d1d41fc3a5223158", "."},
	{"trino-hive", "zip", "611bacdb07d9f3cf7b9d47f97ecc76fa2e7ff8bfe8a9728c3d06adc1bfb8662e", "plugin/hive"},
	{"trino-iceberg", "zip", "99edba5b491ed94d599aeb61e0794272d3569d8b563f3bb8569e8a49daa87b6c", "plugin/iceberg"},
}

// trinoJava is the oldest Java that this Trino runs on.
// Source: https://trino.io/docs/476/installation/deployment.html#java-runtime-environment
const trinoJava = 24

// Trino is a Trino server's program.
type Trino struct {
	Dir  string // of the server
	Java string // the home of a Java that it runs on
}

// InstallTrino puts Trino, the SQL engine that Athena is built on, in
// root/.sandbox. It is safe to call as [Install] is, and as fast the second time.
// Java is not installed: without a suitable one it returns the error of [FindJava].
func InstallTrino(ctx context.Context, root string, progress io.Writer) (Trino, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return Trino{}, err
	}
	java, err := FindJava(ctx)
	if err != nil {
		return Trino{}, err
	}
	in := newInstaller(root, progress)
	a := trinoArtifact(newNetwork(cliReleases, pluginReleases))
	if _, err := in.ensure(ctx, a); err != nil {
		return Trino{}, err
	}
	return Trino{filepath.Join(in.dir, a.path), java}, nil
}

// FindTrino returns the Trino that [InstallTrino] has put in root/.sandbox. The
// error names what is missing.
func FindTrino(ctx context.Context, root string) (Trino, error) {
	in := newInstaller(root, io.Discard)
	a := trinoArtifact(nil)
	if _, ok := in.installed(a); !ok {
		return Trino{}, errors.New("Trino is not installed: run `sandbox install --trino`")
	}
	java, err := FindJava(ctx)
	return Trino{filepath.Join(in.dir, a.path), java}, err
}

func trinoArtifact(net *network) artifact {
	return artifact{
		name:    "trino",
		path:    "trino",
		program: filepath.Join("lib", "io.trino_trino-server-main-"+trinoVersion+".jar"),
		key:     trinoVersion,
		sources: []source{{
			name: "Maven Central", verb: "downloading version " + trinoVersion + " from Maven Central (800 MB)",
			get: func(ctx context.Context, dst string) error {
				err := net.downloadTrino(ctx, dst)
				if errors.Is(err, errUnavailable) { // there is no next source
					return fmt.Errorf("%s: this machine needs access to Maven Central", err.Error())
				}
				return err
			},
		}},
	}
}

func (n *network) downloadTrino(ctx context.Context, dst string) error {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	if err := os.Mkdir(dst, 0o755); err != nil {
		return err
	}
	for _, a := range trinoArchives {
		url := fmt.Sprintf("%s/%s/%s/%s-%s.%s", mavenCentral, a.name, trinoVersion, a.name, trinoVersion, a.kind)
		file, err := n.fetch(ctx, url, a.sha256, filepath.Dir(dst))
		if err != nil {
			return err
		}
		unpack := unpackTar
		if a.kind == "zip" {
			unpack = unpackZip
		}
		err = unpack(file, filepath.Join(dst, filepath.FromSlash(a.place)))
		if err := errors.Join(err, file.Close(), os.Remove(file.Name())); err != nil {
			return fmt.Errorf("unpacking %s: %w", a.name, err)
		}
	}
	return nil
}

// inside is the path of an archive's entry without its first folder, which all
// entries share.
func inside(name string) string {
	_, rest, _ := strings.Cut(strings.Trim(filepath.ToSlash(name), "/"), "/")
	return rest
}

// unpackTar unpacks a tar.gz without its top folder. Nothing leaves dst: os.Root
// sees to that.
func unpackTar(archive *os.File, dst string) error {
	unzipped, err := gzip.NewReader(archive)
	if err != nil {
		return err
	}
	root, err := openFolder(dst)
	if err != nil {
		return err
	}
	defer root.Close()
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := inside(header.Name)
		switch {
		case name == "":
		case header.Typeflag == tar.TypeDir:
			err = root.MkdirAll(name, 0o755)
		case header.Typeflag == tar.TypeLink:
			if err = root.MkdirAll(filepath.Dir(name), 0o755); err == nil {
				err = root.Link(inside(header.Linkname), name)
			}
		case header.Typeflag == tar.TypeReg:
			err = writeFile(root, name, files, header.FileInfo().Mode().Perm())
		default:
			err = fmt.Errorf("%s is of a kind that is not expected", header.Name)
		}
		if err != nil {
			return err
		}
	}
}

// unpackZip is unpackTar for a zip archive.
func unpackZip(archive *os.File, dst string) error {
	info, err := archive.Stat()
	if err != nil {
		return err
	}
	files, err := zip.NewReader(archive, info.Size())
	if err != nil {
		return err
	}
	root, err := openFolder(dst)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files.File {
		name := inside(f.Name)
		if name == "" || f.FileInfo().IsDir() {
			continue
		}
		in, err := f.Open()
		if err == nil {
			err = errors.Join(writeFile(root, name, in, 0o644), in.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func openFolder(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return os.OpenRoot(dir)
}

func writeFile(root *os.Root, name string, content io.Reader, mode os.FileMode) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}

var javaVersion = regexp.MustCompile(`version "(\d+)`)

// FindJava returns the home of a Java that Trino runs on: JAVA_HOME, that of the
// java on PATH, or one in /usr/lib/jvm; the first that is new enough.
func FindJava(ctx context.Context) (string, error) {
	var homes []string
	if home := os.Getenv("JAVA_HOME"); home != "" {
		homes = append(homes, home)
	}
	if java, err := exec.LookPath("java"); err == nil {
		if java, err = filepath.EvalSymlinks(java); err == nil {
			homes = append(homes, filepath.Dir(filepath.Dir(java)))
		}
	}
	more, _ := filepath.Glob("/usr/lib/jvm/*") // the pattern is valid
	slices.Reverse(more)                       // newer ones first, mostly
	var seen []string
	for _, home := range append(homes, more...) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		out, err := exec.CommandContext(ctx, filepath.Join(home, "bin", "java"), "-version").CombinedOutput()
		cancel()
		m := javaVersion.FindSubmatch(bytes.TrimSpace(out))
		if err != nil || m == nil {
			continue
		}
		if v, _ := strconv.Atoi(string(m[1])); v >= trinoJava {
			return home, nil
		}
		seen = append(seen, fmt.Sprintf("%s has Java %s", home, m[1]))
	}
	err := fmt.Errorf("Trino %s needs Java %d or newer: install one (for example Temurin 25) and set JAVA_HOME", trinoVersion, trinoJava)
	if len(seen) > 0 {
		err = fmt.Errorf("%w; %s", err, strings.Join(seen, ", "))
	}
	return "", err
}
