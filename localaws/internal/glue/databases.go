package glue

import (
	"maps"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

type principalPermissions struct {
	Permissions []string
	Principal   struct{ DataLakePrincipalIdentifier string }
}

// databaseInput is a database as its owner describes it.
type databaseInput struct {
	Name                          string
	Description                   string                  `json:",omitempty"`
	LocationURI                   string                  `json:"LocationUri,omitempty"`
	Parameters                    map[string]string       `json:",omitempty"`
	CreateTableDefaultPermissions *[]principalPermissions `json:",omitempty"`
}

type database struct {
	databaseInput
	CreateTime float64
	CatalogID  string `json:"CatalogId"`
}

type databaseRecord struct {
	Database database
	Tags     map[string]string
}

type createDatabaseInput struct {
	catalogInput
	DatabaseInput databaseInput
	Tags          map[string]string `json:",omitempty"`
}

type databaseName struct {
	catalogInput
	Name string
}

type updateDatabaseInput struct {
	databaseName
	DatabaseInput databaseInput
}

// allPrincipals is who may use a new table where Lake Formation is not used.
func allPrincipals() *[]principalPermissions {
	p := principalPermissions{Permissions: []string{"ALL"}}
	p.Principal.DataLakePrincipalIdentifier = "IAM_ALLOWED_PRINCIPALS"
	return &[]principalPermissions{p}
}

func (in databaseInput) check(r *wire.Request) error {
	if p := in.CreateTableDefaultPermissions; p != nil && (len(*p) != 1 || len((*p)[0].Permissions) != 1 || (*p)[0].Permissions[0] != "ALL" ||
		(*p)[0].Principal.DataLakePrincipalIdentifier != "IAM_ALLOWED_PRINCIPALS") {
		return wire.NotImplemented(r.Service, "other CreateTableDefaultPermissions than ALL for IAM_ALLOWED_PRINCIPALS in "+r.Operation)
	}
	return checkName(r, "Database name", in.Name)
}

func createDatabase(tx *bolt.Tx, r *wire.Request, in createDatabaseInput) (any, error) {
	if err := in.check(r); err != nil {
		return nil, err
	}
	if err := in.DatabaseInput.check(r); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	in.DatabaseInput.Name = strings.ToLower(in.DatabaseInput.Name)
	at := key(r, in.DatabaseInput.Name)
	if tx.Bucket(DatabaseBucket).Get([]byte(at)) != nil {
		return nil, wire.Errf(400, "AlreadyExistsException", "Database already exists.")
	}
	if in.DatabaseInput.CreateTableDefaultPermissions == nil {
		in.DatabaseInput.CreateTableDefaultPermissions = allPrincipals()
	}
	return struct{}{}, store.Save(tx, DatabaseBucket, at, databaseRecord{database{in.DatabaseInput, float64(r.Now.Unix()), r.Who.Account}, in.Tags})
}

func findDatabase(tx *bolt.Tx, r *wire.Request, in databaseName) (databaseRecord, error) {
	if err := in.check(r); err != nil {
		return databaseRecord{}, err
	}
	d, ok, err := store.Load[databaseRecord](tx, DatabaseBucket, key(r, in.Name))
	if err == nil && !ok {
		err = notFound("Database %s not found.", in.Name)
	}
	return d, err
}

func getDatabase(tx *bolt.Tx, r *wire.Request, in databaseName) (any, error) {
	d, err := findDatabase(tx, r, in)
	return map[string]any{"Database": d.Database}, err
}

func listDatabases(tx *bolt.Tx, r *wire.Request) ([]database, error) {
	list := []database{}
	return list, store.Each(tx, DatabaseBucket, key(r, ""), func(_ string, d databaseRecord) error {
		list = append(list, d.Database)
		return nil
	})
}

// Database is what Athena shows of a database.
type Database struct {
	Name        string
	Description string            `json:",omitempty"`
	Parameters  map[string]string `json:",omitempty"`
}

// Databases lists the databases for Athena. The caller of r must have access to them.
func (s *Service) Databases(tx *bolt.Tx, r *wire.Request) ([]Database, error) {
	if err := s.Allowed(r, "GetDatabases", s.resources(r, "*", "")...); err != nil {
		return nil, err
	}
	all, err := listDatabases(tx, r)
	list := []Database{}
	for _, d := range all {
		list = append(list, Database{d.Name, d.Description, d.Parameters})
	}
	return list, err
}

func getDatabases(tx *bolt.Tx, r *wire.Request, in listInput) (any, error) {
	if err := in.check(r); err != nil {
		return nil, err
	}
	if in.NextToken != "" {
		return nil, invalid("The token is not valid.")
	}
	list, err := listDatabases(tx, r)
	if in.MaxResults != nil && *in.MaxResults < len(list) {
		return nil, wire.NotImplemented(r.Service, "pages in "+r.Operation)
	}
	return map[string]any{"DatabaseList": list}, err
}

func updateDatabase(tx *bolt.Tx, r *wire.Request, in updateDatabaseInput) (any, error) {
	d, err := findDatabase(tx, r, in.databaseName)
	if err != nil {
		return nil, err
	}
	if err := in.DatabaseInput.check(r); err != nil {
		return nil, err
	}
	if !strings.EqualFold(in.DatabaseInput.Name, in.Name) {
		return nil, wire.NotImplemented(r.Service, "a new name in "+r.Operation)
	}
	in.DatabaseInput.Name = d.Database.Name
	if in.DatabaseInput.CreateTableDefaultPermissions == nil {
		in.DatabaseInput.CreateTableDefaultPermissions = d.Database.CreateTableDefaultPermissions
	}
	d.Database.databaseInput = in.DatabaseInput
	return struct{}{}, store.Save(tx, DatabaseBucket, key(r, in.Name), d)
}

// deleteDatabase deletes the tables too.
func deleteDatabase(tx *bolt.Tx, r *wire.Request, in databaseName) (any, error) {
	if _, err := findDatabase(tx, r, in); err != nil {
		return nil, err
	}
	var tables []string
	err := store.Each(tx, TableBucket, key(r, in.Name)+"/", func(k string, _ table) error {
		tables = append(tables, k)
		return nil
	})
	for _, k := range tables {
		if err == nil {
			err = store.Remove(tx, TableBucket, k)
		}
	}
	if err != nil {
		return nil, err
	}
	return struct{}{}, store.Remove(tx, DatabaseBucket, key(r, in.Name))
}

type getTagsInput struct {
	ResourceArn string
}

// taggedDatabase finds the database that an ARN names.
func taggedDatabase(tx *bolt.Tx, r *wire.Request, arn string) (databaseRecord, error) {
	name, ok := strings.CutPrefix(arn, "arn:aws:glue:"+r.Region+":"+r.Who.Account+":database/")
	if !ok {
		return databaseRecord{}, wire.NotImplemented(r.Service, "tags of other resources than databases")
	}
	return findDatabase(tx, r, databaseName{Name: name})
}

func getTags(tx *bolt.Tx, r *wire.Request, in getTagsInput) (any, error) {
	d, err := taggedDatabase(tx, r, in.ResourceArn)
	tags := map[string]string{}
	maps.Copy(tags, d.Tags)
	return map[string]any{"Tags": tags}, err
}

type tagResourceInput struct {
	ResourceArn string
	TagsToAdd   map[string]string
}

type untagResourceInput struct {
	ResourceArn  string
	TagsToRemove []string
}

// maxTags is how many tags a resource can have.
const maxTags = 50

// checkTags holds tags to Glue's limits.
// Source: https://docs.aws.amazon.com/glue/latest/webapi/API_TagResource.html
func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return invalid("A resource can have %d tags at most.", maxTags)
	}
	for k, v := range tags {
		if n := len([]rune(k)); n < 1 || n > 128 || len([]rune(v)) > 256 || strings.HasPrefix(strings.ToLower(k), "aws:") {
			return invalid("The tag %q is not valid.", k)
		}
	}
	return nil
}

func tagResource(tx *bolt.Tx, r *wire.Request, in tagResourceInput) (any, error) {
	d, err := taggedDatabase(tx, r, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	maps.Copy(tags, d.Tags)
	maps.Copy(tags, in.TagsToAdd)
	if err := checkTags(tags); err != nil {
		return nil, err
	}
	d.Tags = tags
	return struct{}{}, store.Save(tx, DatabaseBucket, key(r, d.Database.Name), d)
}

func untagResource(tx *bolt.Tx, r *wire.Request, in untagResourceInput) (any, error) {
	d, err := taggedDatabase(tx, r, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	for _, k := range in.TagsToRemove {
		delete(d.Tags, k)
	}
	return struct{}{}, store.Save(tx, DatabaseBucket, key(r, d.Database.Name), d)
}
