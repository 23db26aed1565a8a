// Package athena is Amazon Athena: workgroups, and queries. It has no SQL engine:
// it forwards queries to a Trino, the engine that Athena is built on, whose
// catalogs have Athena's names and read from this localaws.
//
// Not served: statements other than SELECT, WITH and VALUES; prepared statements
// and execution parameters; named queries; data catalogs; the reuse of results;
// managed query results; the binary .metadata file beside a result; columns that
// are not scalar. The engine reads S3 with the credentials of its catalogs, where
// Athena reads with the caller's.
package athena

import (
	"errors"
	"net/http"
	"regexp"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/glue"
	"github.com/securethecloud/kms-baseline/localaws/internal/operation"
	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The buckets, in the database.
var (
	WorkGroupBucket = []byte("athena-workgroups") // account/region/name
	QueryBucket     = []byte("athena-queries")    // account/region/id
)

// Objects is what Athena needs of S3, with the permissions of its caller.
type Objects interface {
	Put(who wire.Identity, now time.Time, bucket, key string, h http.Header, body []byte) error
	Get(who wire.Identity, now time.Time, bucket, key string) ([]byte, error)
}

// Service serves Athena.
type Service struct {
	wire.JSONService
	operation.Service
	glue    *glue.Service
	objects Objects
	engine  engine
	now     func() time.Time

	mu      sync.Mutex
	running map[string]func() // by query ID: cancels it
	closed  bool
	queries sync.WaitGroup
}

// Open makes the service. trino is the URL of the engine; empty for none, and then
// StartQueryExecution is refused. Queries that a killed process left are failed.
func Open(db *bolt.DB, identities *policy.Identities, t *trail.Service, g *glue.Service, objects Objects, trino string, now func() time.Time) (*Service, error) {
	s := &Service{
		Service: operation.Service{Name: "athena", DB: db, Identities: identities, Trail: t},
		glue:    g, objects: objects, engine: engine{trino}, now: now, running: map[string]func(){},
	}
	o := s.Service
	s.Handlers = map[string]wire.JSONHandler{
		"CreateWorkGroup":     operation.Handler(o, false, func(r *wire.Request, in createWorkGroupInput) []string { return s.workGroup(r, in.Name) }, createWorkGroup),
		"GetWorkGroup":        operation.Handler(o, true, func(r *wire.Request, in workGroupName) []string { return s.workGroup(r, in.WorkGroup) }, getWorkGroup),
		"UpdateWorkGroup":     operation.Handler(o, false, func(r *wire.Request, in updateWorkGroupInput) []string { return s.workGroup(r, in.WorkGroup) }, updateWorkGroup),
		"DeleteWorkGroup":     operation.Handler(o, false, func(r *wire.Request, in deleteWorkGroupInput) []string { return s.workGroup(r, in.WorkGroup) }, deleteWorkGroup),
		"ListWorkGroups":      operation.Handler(o, true, func(*wire.Request, listInput) []string { return []string{"*"} }, listWorkGroups),
		"ListTagsForResource": operation.Handler(o, true, func(_ *wire.Request, in listTagsInput) []string { return []string{in.ResourceARN} }, listTags),
		"TagResource":         operation.Handler(o, false, func(_ *wire.Request, in tagResourceInput) []string { return []string{in.ResourceARN} }, tagResource),
		"UntagResource":       operation.Handler(o, false, func(_ *wire.Request, in untagResourceInput) []string { return []string{in.ResourceARN} }, untagResource),
		"GetTableMetadata": operation.Handler(o, true, func(r *wire.Request, in tableMetadataInput) []string {
			return []string{s.ARN(r, "datacatalog/"+in.CatalogName)}
		}, s.getTableMetadata),
		"ListTableMetadata": operation.Handler(o, true, func(r *wire.Request, in listTablesInput) []string {
			return []string{s.ARN(r, "datacatalog/"+in.CatalogName)}
		}, s.listTableMetadata),
		"ListDatabases": operation.Handler(o, true, func(r *wire.Request, in listDatabasesInput) []string {
			return []string{s.ARN(r, "datacatalog/"+in.CatalogName)}
		}, s.listDatabases),
		"StartQueryExecution": s.startQueryExecution,
		"GetQueryExecution":   operation.Handler(o, true, s.ofQuery, getQueryExecution),
		"GetQueryResults":     s.getQueryResults,
		"StopQueryExecution":  operation.Handler(o, false, s.ofQuery, s.stopQueryExecution),
	}
	return s, db.Update(func(tx *bolt.Tx) error {
		var left []query
		err := store.Each(tx, QueryBucket, "", func(_ string, q query) error {
			if !q.ended() {
				left = append(left, q)
			}
			return nil
		})
		for _, q := range left {
			q.end(failed, "localaws was stopped while the query was running", now())
			if err == nil {
				err = store.Save(tx, QueryBucket, q.key(), q)
			}
		}
		return err
	})
}

// Close cancels what is running and waits until it has ended.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	for _, cancel := range s.running {
		cancel()
	}
	s.mu.Unlock()
	s.queries.Wait()
}

func (s *Service) workGroup(r *wire.Request, name string) []string {
	return []string{s.ARN(r, "workgroup/"+name)}
}

func invalid(format string, args ...any) *wire.Error {
	return wire.Errf(http.StatusBadRequest, "InvalidRequestException", format, args...)
}

var workGroupPattern = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,128}$`)

// glueCatalog is the catalog that is Glue's.
const glueCatalog = "AwsDataCatalog"

type tableMetadataInput struct {
	CatalogName  string
	DatabaseName string
	TableName    string
	WorkGroup    string `json:",omitempty"`
}

func (s *Service) getTableMetadata(tx *bolt.Tx, r *wire.Request, in tableMetadataInput) (any, error) {
	if in.CatalogName != glueCatalog {
		return nil, wire.NotImplemented(r.Service, "GetTableMetadata of other catalogs than "+glueCatalog)
	}
	t, err := s.glue.Table(tx, r, in.DatabaseName, in.TableName)
	return map[string]any{"TableMetadata": t}, metadataError(err)
}

// metadataError is Glue's error as Athena returns it.
func metadataError(err error) error {
	var e *wire.Error
	if errors.As(err, &e) && e.Code == "EntityNotFoundException" {
		return wire.Errf(http.StatusBadRequest, "MetadataException", "%s", e.Message)
	}
	return err
}

type listDatabasesInput struct {
	listInput
	CatalogName string
	WorkGroup   string `json:",omitempty"`
}

type listTablesInput struct {
	listDatabasesInput
	DatabaseName string
	Expression   string `json:",omitempty"`
}

// maxListed is how many databases or tables an answer has at most.
// Source: https://docs.aws.amazon.com/athena/latest/APIReference/API_ListDatabases.html
const maxListed = 50

// check refuses what is not served of a list of n.
func (in listDatabasesInput) check(r *wire.Request, n int) error {
	switch {
	case in.CatalogName != glueCatalog:
		return wire.NotImplemented(r.Service, r.Operation+" of other catalogs than "+glueCatalog)
	case in.NextToken != "":
		return invalid("The token is not valid.")
	case in.MaxResults != nil && (*in.MaxResults < 1 || *in.MaxResults > maxListed):
		return invalid("MaxResults must be from 1 to %d: %d", maxListed, *in.MaxResults)
	case in.MaxResults != nil && *in.MaxResults < n || n > maxListed:
		return wire.NotImplemented(r.Service, "pages in "+r.Operation)
	}
	return nil
}

func (s *Service) listDatabases(tx *bolt.Tx, r *wire.Request, in listDatabasesInput) (any, error) {
	list, err := s.glue.Databases(tx, r)
	if err == nil {
		err = in.check(r, len(list))
	}
	return map[string]any{"DatabaseList": list}, err
}

func (s *Service) listTableMetadata(tx *bolt.Tx, r *wire.Request, in listTablesInput) (any, error) {
	if in.Expression != "" {
		return nil, wire.NotImplemented(r.Service, "the parameter Expression of "+r.Operation)
	}
	list, err := s.glue.Tables(tx, r, in.DatabaseName)
	if err == nil {
		err = in.check(r, len(list))
	}
	return map[string]any{"TableMetadataList": list}, metadataError(err)
}
