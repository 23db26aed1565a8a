//go:build !linux

package s3

import (
	"errors"
	"os"
	"runtime"
)

func syncFile(f *os.File) error { return f.Sync() }

// syncAll puts the names of the files on disk.
func syncAll(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a directory cannot be synced there; NTFS journals names
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
