package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	with := func(statuses ...report.Status) report.Status {
		r := &report.Report{}
		for _, s := range statuses {
			r.Results = append(r.Results, report.Result{Status: s})
		}
		r.Judge()
		return r.Verdict
	}
	const p, f, i, e, s = report.Pass, report.Fail, report.Inconclusive, report.Error, report.Skipped
	credentials := &check.CredentialsError{Err: errors.New("expired")}
	tests := []struct {
		name    string
		verdict report.Status
		err     error
		allow   bool
		want    int
	}{
		{"a command without checks", "", nil, false, 0},
		{"all pass", with(p, p), nil, false, 0},
		{"all that ran pass", with(p, s), nil, false, 0},
		{"one fails", with(p, f), nil, false, 1},
		{"one fails, one could not be evaluated", with(p, f, e, i), nil, true, 1},
		{"one could not be evaluated", with(p, e), nil, false, 4},
		{"the same, inconclusive allowed", with(p, e), nil, true, 4},
		{"one is inconclusive", with(p, i), nil, false, 4},
		{"one is inconclusive, allowed", with(p, i), nil, true, 0},
		{"one inconclusive, one error, allowed", with(i, e), nil, true, 4},
		{"none ran", with(), nil, true, 4},
		{"all skipped", with(s, s), nil, true, 4},
		{"wrong flags", "", errors.New("unknown flag"), false, 2},
		{"wrong input", "", &check.InputError{Reason: "no key"}, false, 2},
		{"wrong input with a hint", "", hinted{errors.New("no outputs"), "pulumi up"}, false, 2},
		{"no credentials", with(e, e), credentials, false, 3},
		{"no credentials, wrapped", with(e, e), fmt.Errorf("x: %w", credentials), true, 3},
		{"credentials expired after a failure", with(f, e), credentials, false, 1},
		{"cancelled", with(p, f, e), errCancelled, false, 8},
		{"cancelled before the start", "", errCancelled, false, 8},
		{"timed out", with(p, f, e), errTimedOut, true, 9},
		{"timed out, and a report could not be written", with(p), errors.Join(errTimedOut, errReport), false, 9},
		{"a report could not be written", with(p), fmt.Errorf("%w: disk full", errReport), false, 5},
		{"a check failed, and a report could not be written", with(f), errReport, false, 1},
		{"a check is inconclusive, and a report could not be written", with(i), errReport, true, 5},
		{"envelope failed", "", fmt.Errorf("%w: x", errFailed), false, 1},
		{"envelope could not ask", "", hinted{fmt.Errorf("%w: x", errAWS), "y"}, false, 4},
		{"context.Canceled is not ours", with(e), context.Canceled, false, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, exitCode(tt.verdict, tt.err, tt.allow))
		})
	}
}
