package main

import (
	"errors"

	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// What verify exits with.
const (
	exitPass        = 0 // every check that ran passed
	exitFail        = 1 // a check failed
	exitUsage       = 2 // wrong flags or input; nothing was asked of AWS
	exitCredentials = 3 // no credentials, or AWS refused them
	exitUnknown     = 4 // something could not be evaluated, or is inconclusive
	exitReport      = 5 // the checks ran, and a report could not be written
	exitCancelled   = 8 // Ctrl-C, SIGTERM or SIGHUP
	exitTimedOut    = 9 // --timeout
)

// errReport is why a report is missing or incomplete.
var errReport = errors.New("writing the report")

// errTimedOut is why a run ended that --timeout ended.
var errTimedOut = errors.New("timed out")

// errFailed is why verify envelope failed: AWS did not behave as encryption has
// to.
var errFailed = errors.New("failed")

// exitCode is the exit code of a run. verdict is empty if no check was run. A run that
// was cut short comes first, then a check that failed, then credentials, then a
// report that could not be written, then checks that were not evaluated.
func exitCode(verdict report.Status, err error, allowInconclusive bool) int {
	credentials := errors.As(err, new(*check.CredentialsError))
	switch {
	case err == nil && verdict == "":
		return exitPass // a command that runs no checks
	case errors.Is(err, errTimedOut):
		return exitTimedOut
	case errors.Is(err, errCancelled):
		return exitCancelled
	case errors.Is(err, errFailed), errors.Is(err, errOrphans), verdict == report.Fail:
		return exitFail
	case credentials:
		return exitCredentials
	case errors.Is(err, errReport):
		return exitReport
	case errors.Is(err, errAWS), errors.Is(err, errDoubt):
		return exitUnknown
	case err != nil:
		return exitUsage
	case verdict == report.Pass, verdict == report.Inconclusive && allowInconclusive:
		return exitPass
	}
	return exitUnknown
}
