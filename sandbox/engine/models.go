package engine

import (
	"archive/zip"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// botocoreVersion is the release of botocore whose service models the tests of
// localaws compare it with.
const botocoreVersion = "1.44.8"

// serviceModels are botocore's models of the services that localaws serves.
var serviceModels = map[string]string{
	"kms":        "botocore/data/kms/2014-11-01/service-2.json.gz",
	"s3":         "botocore/data/s3/2006-03-01/service-2.json.gz",
	"ec2":        "botocore/data/ec2/2016-11-15/service-2.json.gz",
	"sts":        "botocore/data/sts/2011-06-15/service-2.json.gz",
	"cloudtrail": "botocore/data/cloudtrail/2013-11-01/service-2.json.gz",
}

// InstallModels puts AWS's service models (SERVICE.json) in root/.sandbox/botocore
// and returns that folder. They are part of botocore, which comes from PyPI by
// Python 3 with venv or pip. It is safe to call as Install is, and as fast the
// second time.
func InstallModels(ctx context.Context, root string, progress io.Writer) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	in := newInstaller(root, progress)
	a := artifact{
		name:    "service models",
		path:    "botocore",
		program: "kms.json",
		key:     botocoreVersion,
		sources: []source{{name: "PyPI", verb: "downloading botocore " + botocoreVersion + " from PyPI", get: pipModels}},
	}
	if _, err := in.ensure(ctx, a); err != nil {
		return "", err
	}
	return filepath.Join(in.dir, a.path), nil
}

func pipModels(ctx context.Context, dst string) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("there is no python3 to download botocore with: install Python 3")
	}
	tmp := filepath.Dir(dst)
	err = pip(ctx, python, filepath.Join(tmp, "venv"), "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", tmp, "botocore=="+botocoreVersion)
	if err != nil {
		return fmt.Errorf("%w: give this machine python3-venv and access to PyPI", err)
	}
	wheels, err := filepath.Glob(filepath.Join(tmp, "botocore-"+botocoreVersion+"-*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip downloaded %d wheels of botocore %s: want one", len(wheels), botocoreVersion)
	}
	wheel, err := zip.OpenReader(wheels[0])
	if err != nil {
		return err
	}
	defer func() { _ = wheel.Close() }() // opened for reading
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	for service, name := range serviceModels {
		if err := unzip(&wheel.Reader, name, filepath.Join(dst, service+".json")); err != nil {
			return fmt.Errorf("the model of %s in %s: %w", service, path.Base(wheels[0]), err)
		}
	}
	return nil
}

// unzip writes a compressed file of an archive to dst.
func unzip(archive *zip.Reader, name, dst string) error {
	f, err := archive.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // opened for reading
	r, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	const most = 256 << 20 // the largest, EC2's, has 3 MB
	n, err := io.Copy(out, io.LimitReader(r, most))
	if n == most {
		err = cmp.Or(err, errors.New("the file is too large"))
	}
	return errors.Join(err, out.Close())
}
