package sts

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// An expired session is told so for a while, and then forgotten.
func TestForgetExpired(t *testing.T) {
	t.Parallel()
	const key = "ASIAAAAAAAAAAAAAAAAA"
	s, expires := &Service{}, time.Unix(1_800_000_000, 0)
	s.sessions.Store(key, wire.Identity{AccessKey: key, Session: &wire.Session{Token: "t", Expires: expires}})
	for after, want := range map[time.Duration]error{0: ErrExpiredToken, expiredKept: ErrExpiredToken} {
		s.forgetExpired(expires.Add(after))
		_, err := s.Identify(key, "t", expires.Add(after))
		require.True(t, errors.Is(err, want), err)
	}
	s.forgetExpired(expires.Add(expiredKept + 1))
	_, err := s.Identify(key, "t", expires.Add(expiredKept+1))
	require.ErrorIs(t, err, ErrUnknownKey)
}
