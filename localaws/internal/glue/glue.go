// Package glue is the AWS Glue Data Catalog: the databases and the tables that
// Athena queries.
//
// Not served: partitions (a table with partition projection has none), versions
// of tables, views, resource links, Iceberg tables that Glue makes, column
// statistics, and the permissions of Lake Formation.
package glue

import (
	"net/http"
	"regexp"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/operation"
	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The buckets, in the database.
var (
	DatabaseBucket = []byte("glue-databases") // account/region/name
	TableBucket    = []byte("glue-tables")    // account/region/database/name
)

// Service serves the catalog.
type Service struct {
	wire.JSONService
	operation.Service
}

// New makes the service.
func New(db *bolt.DB, identities *policy.Identities, t *trail.Service) *Service {
	s := &Service{Service: operation.Service{Name: "glue", DB: db, Identities: identities, Trail: t}}
	o := s.Service
	s.Handlers = map[string]wire.JSONHandler{
		"CreateDatabase": operation.Handler(o, false, func(r *wire.Request, in createDatabaseInput) []string {
			return s.resources(r, in.DatabaseInput.Name, "")
		}, createDatabase),
		"GetDatabase":    operation.Handler(o, true, func(r *wire.Request, in databaseName) []string { return s.resources(r, in.Name, "") }, getDatabase),
		"GetDatabases":   operation.Handler(o, true, func(r *wire.Request, _ listInput) []string { return s.resources(r, "*", "") }, getDatabases),
		"UpdateDatabase": operation.Handler(o, false, func(r *wire.Request, in updateDatabaseInput) []string { return s.resources(r, in.Name, "") }, updateDatabase),
		"DeleteDatabase": operation.Handler(o, false, func(r *wire.Request, in databaseName) []string { return s.resources(r, in.Name, "") }, deleteDatabase),
		"CreateTable": operation.Handler(o, false, func(r *wire.Request, in createTableInput) []string {
			return s.resources(r, in.DatabaseName, in.TableInput.Name)
		}, createTable),
		"GetTable":  operation.Handler(o, true, func(r *wire.Request, in tableName) []string { return s.resources(r, in.DatabaseName, in.Name) }, getTable),
		"GetTables": operation.Handler(o, true, func(r *wire.Request, in getTablesInput) []string { return s.resources(r, in.DatabaseName, "*") }, getTables),
		"UpdateTable": operation.Handler(o, false, func(r *wire.Request, in updateTableInput) []string {
			return s.resources(r, in.DatabaseName, in.TableInput.Name)
		}, updateTable),
		"DeleteTable": operation.Handler(o, false, func(r *wire.Request, in tableName) []string { return s.resources(r, in.DatabaseName, in.Name) }, deleteTable),
		"GetPartitionIndexes": operation.Handler(o, true, func(r *wire.Request, in getPartitionIndexesInput) []string {
			return s.resources(r, in.DatabaseName, in.TableName)
		}, getPartitionIndexes),
		"GetTags":       operation.Handler(o, true, func(_ *wire.Request, in getTagsInput) []string { return []string{in.ResourceArn} }, getTags),
		"TagResource":   operation.Handler(o, false, func(_ *wire.Request, in tagResourceInput) []string { return []string{in.ResourceArn} }, tagResource),
		"UntagResource": operation.Handler(o, false, func(_ *wire.Request, in untagResourceInput) []string { return []string{in.ResourceArn} }, untagResource),
	}
	return s
}

// resources are what an operation on a database or a table needs access to: the
// catalog and everything above the table too.
// Source: https://docs.aws.amazon.com/glue/latest/dg/glue-specifying-resource-arns.html
func (s *Service) resources(r *wire.Request, database, table string) []string {
	list := []string{s.ARN(r, "catalog"), s.ARN(r, "database/"+strings.ToLower(database))}
	if table != "" {
		list = append(list, s.ARN(r, "table/"+strings.ToLower(database)+"/"+strings.ToLower(table)))
	}
	return list
}

// catalogInput has the account of the catalog.
type catalogInput struct {
	CatalogID string `json:"CatalogId,omitempty"`
}

// check refuses the catalog of another account.
func (c catalogInput) check(r *wire.Request) error {
	if c.CatalogID != "" && c.CatalogID != r.Who.Account {
		return wire.NotImplemented(r.Service, "the CatalogId of another account in "+r.Operation)
	}
	return nil
}

type listInput struct {
	catalogInput
	NextToken  string
	MaxResults *int
}

// maxName is the longest name.
const maxName = 255

// entityName is what a name may consist of.
var entityName = regexp.MustCompile(`^[\x{20}-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}\t]{1,255}$`)

// checkName refuses what is no name, and what localaws cannot store.
func checkName(r *wire.Request, what, name string) error {
	if !entityName.MatchString(name) {
		return invalid("%s must have 1 to %d characters, without control characters.", what, maxName)
	}
	if strings.Contains(name, "/") {
		return wire.NotImplemented(r.Service, "a slash in the name of a "+what)
	}
	return nil
}

func invalid(format string, args ...any) *wire.Error {
	return wire.Errf(http.StatusBadRequest, "InvalidInputException", format, args...)
}

func notFound(format string, args ...any) *wire.Error {
	return wire.Errf(http.StatusBadRequest, "EntityNotFoundException", format, args...)
}

func key(r *wire.Request, parts ...string) string {
	return strings.ToLower(store.Key(append([]string{r.Who.Account, r.Region}, parts...)...))
}
