package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

var moduleLine = regexp.MustCompile(`(?m)^module github\.com/securethecloud/kms-baseline\s*$`)

// FindRoot returns the folder of this project's go.mod: dir or the nearest above
// it.
func FindRoot(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := start; ; at = filepath.Dir(at) {
		data, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && moduleLine.Match(data) {
			return at, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("looking for the project's go.mod: %w", err)
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not inside the kms-baseline project: change to a folder of it", start)
		}
	}
}
