package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBrief(t *testing.T) {
	t.Parallel()
	require.NoError(t, brief(nil))
	for name, c := range map[string]struct{ err, want, hint string }{
		"the engine has printed it": {"failed to run update: exit status 1\ncode: 1\nstdout: ...", "failed to run update: exit status 1: see the engine's output above", ""},
		"an empty file as a lock":   {"failed to destroy stack: exit status 1\ncode: 1\nstderr: error: unexpected end of JSON input", "the lock may be damaged", "sandbox recover"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := brief(errors.New(c.err))
			require.ErrorContains(t, err, c.want)
			var h hinted
			if errors.As(err, &h) {
				require.Contains(t, h.hint, c.hint)
			}
			require.Equal(t, c.hint != "", h.hint != "")
		})
	}
}
