package check

import (
	"slices"
	"strings"
)

// Catalogue has every check, in the order of the report.
var Catalogue = withGroups(slices.Concat(
	accountChecks, keyChecks, bucketChecks, objectChecks, ebsChecks, trailChecks, canaryChecks,
))

func withGroups(checks []Check) []Check {
	for i := range checks {
		checks[i].Group, _, _ = strings.Cut(checks[i].ID, ".")
	}
	return checks
}
