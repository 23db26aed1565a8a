// Package version is the version of this project's commands.
package version

import "runtime/debug"

// release is set by the linker in a release:
// -ldflags "-X github.com/securethecloud/kms-baseline/internal/version.release=v1.2.3".
var release string

// Text is the version of the running command: the release's, else the module's
// (after go install), else the commit that it was built from, else "devel".
func Text() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision := settings["vcs.revision"]
	if revision == "" {
		return "devel" // built without VCS information
	}
	text := "devel-" + revision[:min(12, len(revision))]
	if settings["vcs.modified"] == "true" {
		text += "-modified"
	}
	return text
}
