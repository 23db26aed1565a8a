package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// soakVariable runs the soak: "1" interrupts at every call to AWS, "5" at every
// fifth.
const soakVariable = "KMS_BASELINE_SOAK"

// TestSoak interrupts an up at every call it makes to AWS, in every way, and the
// destroy after it at one of its own calls, and prints what it took to finish.
// It takes hours: make soak.
func TestSoak(t *testing.T) {
	t.Parallel()
	text := os.Getenv(soakVariable)
	if text == "" {
		t.Skip("it takes hours: make soak, or set " + soakVariable)
	}
	stride, err := strconv.Atoi(text)
	require.NoError(t, err, soakVariable)
	require.Positive(t, stride, soakVariable)
	for _, of := range deployments {
		soak(t, of, stride)
	}
}

func soak(t *testing.T, of deployment, stride int) {
	t.Helper()
	u := newUndisturbed(t, of)
	began := time.Now()
	var mu sync.Mutex
	figures := map[string]*figure{}
	t.Run(of.name, func(t *testing.T) {
		for _, how := range interruptions {
			f := &figure{took: map[string]int{}}
			figures[how.name] = f
			for n := 1; n <= u.upCalls; n += stride {
				up, down := point{nth: n}, point{nth: (n-1)/stride%u.downCalls + 1}
				logs := of.trail != "" && (n-1)/stride%2 == 1
				t.Run(fmt.Sprintf("%s/up at %d, destroy at %d", how.name, up.nth, down.nth), func(t *testing.T) {
					t.Parallel()
					defer func() {
						mu.Lock()
						defer mu.Unlock()
						f.runs += 2
						if t.Failed() {
							f.failures++
						}
					}()
					residues := once(t, u, of, how, up, down, logs)
					mu.Lock()
					defer mu.Unlock()
					for _, r := range residues {
						f.took[r]++
					}
				})
			}
		}
	})
	fmt.Printf("soak: up of the %s makes %d calls to AWS, destroy %d; every %s interrupted; %s\n", of.name, u.upCalls, u.downCalls, ordinal(stride), time.Since(began).Round(time.Second))
	for _, how := range interruptions {
		fmt.Printf("soak: %-28s %s\n", how.name, figures[how.name])
	}
}

// figure is what came of one way to interrupt.
type figure struct {
	runs, failures int
	took           map[string]int // what it took to finish, and how often
}

func (f *figure) String() string {
	var took []string
	for _, what := range slices.Sorted(maps.Keys(f.took)) {
		took = append(took, fmt.Sprintf("%s %d", what, f.took[what]))
	}
	return fmt.Sprintf("%4d runs, %d failures; %s", f.runs, f.failures, strings.Join(took, ", "))
}

func ordinal(n int) string {
	if n == 1 {
		return "one"
	}
	return fmt.Sprintf("%dth", n)
}
