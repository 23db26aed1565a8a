package check

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// TestSQL_OverARealEngine has all that needs a Trino: it takes half a minute to start.
func TestSQL_OverARealEngine(t *testing.T) {
	t.Parallel()
	s := newSQLStack(t)
	t.Run("FindsTheEventsThatTheFilesProve", s.findsEvents)
	t.Run("CancelledRunStopsAthenasQuery", s.stopsQuery)
}

func (s *sqlStack) findsEvents(t *testing.T) { //nolint:paralleltest // the stack's config
	files := s.run(t)
	for _, events := range []string{"athena:" + workgroup + "/audit.cloudtrail", "trino:" + s.trino.URL + "/awsdatacatalog.audit.cloudtrail"} {
		c := s.config
		c.Events = events
		rep, err := Run(t.Context(), c)
		require.NoError(t, err)
		for _, id := range []string{"trail.write", "trail.read"} {
			proven, found := result(t, files, id), result(t, rep, id)
			require.Equal(t, report.Pass, proven.Status, show(files))
			require.Equal(t, report.Inconclusive, found.Status, show(rep))
			require.Regexp(t, "SQL (validates no digest file|does not show)", found.Actual)
			require.Equal(t, eventIDs(proven), eventIDs(found), "%s: %s", events, id)
		}
	}
}

func eventIDs(x report.Result) []string {
	var ids []string
	for _, e := range x.Evidence {
		if e.EventID != "" {
			ids = append(ids, e.EventID)
		}
	}
	return ids
}

func (s *sqlStack) stopsQuery(t *testing.T) { //nolint:paralleltest // the stack's config
	e := &athenaEngine{workgroup: workgroup, cfg: s.cfg, client: s.athena()}
	ctx, cancel := context.WithCancel(t.Context())
	running := stopAt{s.cfg.HTTPClient, "GetQueryExecution", cancel}
	e.client = athena.NewFromConfig(s.cfg, func(o *athena.Options) { o.HTTPClient = running })
	_, id, err := e.query(ctx, endless, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool {
		out, err := s.athena().GetQueryExecution(t.Context(), &athena.GetQueryExecutionInput{QueryExecutionId: &id})
		return err == nil && out.QueryExecution.Status.State == types.QueryExecutionStateCancelled
	}, 20*time.Second, 50*time.Millisecond)
}

// stopAt calls stop after the first response to an operation.
type stopAt struct {
	next      aws.HTTPClient
	operation string
	stop      func()
}

func (s stopAt) Do(h *http.Request) (*http.Response, error) {
	resp, err := s.next.Do(h)
	if strings.HasSuffix(h.Header.Get("X-Amz-Target"), s.operation) {
		s.stop()
	}
	return resp, err
}
