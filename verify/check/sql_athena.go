package check

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"
)

// athenaEngine is Athena, in a workgroup that has an output location.
type athenaEngine struct {
	workgroup string
	client    *athena.Client
	operation string
}

// athenaPoll is how often the state of a query is asked.
const athenaPoll = 500 * time.Millisecond

func (a *athenaEngine) call() string {
	if a.operation == "" {
		return "athena:StartQueryExecution"
	}
	return a.operation
}

func (a *athenaEngine) describe(ctx context.Context, t sqlTable, day string) (columns, partitions []string, format string, err error) {
	a.operation = "athena:GetTableMetadata"
	out, err := a.client.GetTableMetadata(ctx, &athena.GetTableMetadataInput{CatalogName: &t[0], DatabaseName: &t[1], TableName: &t[2]})
	if err != nil {
		return nil, nil, "", err
	}
	for _, c := range out.TableMetadata.Columns {
		columns = append(columns, aws.ToString(c.Name))
	}
	for _, c := range out.TableMetadata.PartitionKeys {
		partitions = append(partitions, aws.ToString(c.Name))
	}
	return columns, partitions, out.TableMetadata.Parameters["projection."+day+".format"], nil
}

func (a *athenaEngine) query(ctx context.Context, sql string, row func([]string)) (int64, string, error) {
	a.operation = "athena:StartQueryExecution"
	started, err := a.client.StartQueryExecution(ctx, &athena.StartQueryExecutionInput{QueryString: &sql, WorkGroup: &a.workgroup})
	if err != nil {
		return 0, "", err
	}
	id := aws.ToString(started.QueryExecutionId)
	a.operation = "athena:GetQueryExecution"
	var q *types.QueryExecution
	for {
		out, err := a.client.GetQueryExecution(ctx, &athena.GetQueryExecutionInput{QueryExecutionId: &id})
		if err != nil {
			a.stop(id)
			return 0, id, err
		}
		q = out.QueryExecution
		if s := q.Status.State; s != types.QueryExecutionStateQueued && s != types.QueryExecutionStateRunning {
			break
		}
		select {
		case <-ctx.Done():
			a.stop(id)
			return 0, id, context.Cause(ctx)
		case <-time.After(athenaPoll):
		}
	}
	scanned := int64(0)
	if q.Statistics != nil {
		scanned = aws.ToInt64(q.Statistics.DataScannedInBytes)
	}
	if q.Status.State != types.QueryExecutionStateSucceeded {
		return scanned, id, &sqlError{fmt.Sprintf("Athena's query %s %s: %s", id, q.Status.State, aws.ToString(q.Status.StateChangeReason))}
	}
	a.operation = "athena:GetQueryResults"
	header := true // the first row has the columns' names
	pages := athena.NewGetQueryResultsPaginator(a.client, &athena.GetQueryResultsInput{QueryExecutionId: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return scanned, id, err
		}
		for _, r := range page.ResultSet.Rows {
			if header {
				header = false
				continue
			}
			values := make([]string, len(r.Data))
			for i, d := range r.Data {
				values[i] = aws.ToString(d.VarCharValue)
			}
			row(values)
		}
	}
	return scanned, id, nil
}

// stop cancels a query of a run that has ended. The run's context has ended too.
func (a *athenaEngine) stop(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, _ = a.client.StopQueryExecution(ctx, &athena.StopQueryExecutionInput{QueryExecutionId: &id}) // the run says already why it ended
}
