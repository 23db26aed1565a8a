package glue

import (
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Column is a column of a table.
type Column struct {
	Name       string
	Type       string            `json:",omitempty"`
	Comment    string            `json:",omitempty"`
	Parameters map[string]string `json:",omitempty"`
}

type serDeInfo struct {
	Name                 string            `json:",omitempty"`
	SerializationLibrary string            `json:",omitempty"`
	Parameters           map[string]string `json:",omitempty"`
}

type storageDescriptor struct {
	Columns                []Column          `json:",omitempty"`
	Location               string            `json:",omitempty"`
	InputFormat            string            `json:",omitempty"`
	OutputFormat           string            `json:",omitempty"`
	Compressed             bool              `json:"Compressed"`
	NumberOfBuckets        int               `json:"NumberOfBuckets"`
	SerdeInfo              *serDeInfo        `json:",omitempty"`
	Parameters             map[string]string `json:",omitempty"`
	StoredAsSubDirectories bool              `json:"StoredAsSubDirectories"`
	// Only the empty lists, which clients send for what they leave out.
	AdditionalLocations []any `json:",omitempty"`
	BucketColumns       []any `json:",omitempty"`
	SortColumns         []any `json:",omitempty"`
}

// tableInput is a table as its owner describes it.
type tableInput struct {
	Name              string
	Description       string             `json:",omitempty"`
	Owner             string             `json:",omitempty"`
	Retention         int                `json:"Retention"`
	StorageDescriptor *storageDescriptor `json:",omitempty"`
	PartitionKeys     []Column           `json:",omitempty"`
	TableType         string             `json:",omitempty"`
	Parameters        map[string]string  `json:",omitempty"`
}

type table struct {
	tableInput
	DatabaseName                  string
	CatalogID                     string `json:"CatalogId"`
	CreatedBy                     string
	CreateTime                    float64
	UpdateTime                    float64
	IsRegisteredWithLakeFormation bool
	VersionID                     string `json:"VersionId"`
}

type createTableInput struct {
	catalogInput
	DatabaseName     string
	TableInput       tableInput
	PartitionIndexes []any `json:",omitempty"` // none
}

type tableName struct {
	catalogInput
	DatabaseName string
	Name         string
}

type updateTableInput struct {
	catalogInput
	DatabaseName string
	TableInput   tableInput
	SkipArchive  *bool  `json:",omitempty"`
	VersionID    string `json:"VersionId,omitempty"`
}

type getTablesInput struct {
	listInput
	DatabaseName     string
	AttributesToGet  []string `json:",omitempty"`
	IncludeStatus    *bool    `json:"IncludeStatusDetails,omitempty"`
	ExpressionFilter string   `json:"Expression,omitempty"`
}

func (in tableInput) check(r *wire.Request) error {
	if in.StorageDescriptor == nil {
		return wire.NotImplemented(r.Service, "a table without StorageDescriptor")
	}
	if d := in.StorageDescriptor; len(d.AdditionalLocations)+len(d.BucketColumns)+len(d.SortColumns) > 0 {
		return wire.NotImplemented(r.Service, "AdditionalLocations, BucketColumns and SortColumns of StorageDescriptor in "+r.Operation)
	}
	names := map[string]bool{}
	for _, c := range append(append([]Column{}, in.StorageDescriptor.Columns...), in.PartitionKeys...) {
		name := strings.ToLower(c.Name)
		if name == "" || len(name) > maxName {
			return invalid("A column's name must have 1 to %d characters.", maxName)
		}
		if names[name] {
			return invalid("Column %s is duplicated.", name)
		}
		names[name] = true
	}
	return checkName(r, "Table name", in.Name)
}

func createTable(tx *bolt.Tx, r *wire.Request, in createTableInput) (any, error) {
	if _, err := findDatabase(tx, r, databaseName{in.catalogInput, in.DatabaseName}); err != nil {
		return nil, err
	}
	if len(in.PartitionIndexes) > 0 {
		return nil, wire.NotImplemented(r.Service, "the parameter PartitionIndexes of "+r.Operation)
	}
	if err := in.TableInput.check(r); err != nil {
		return nil, err
	}
	in.TableInput.Name = strings.ToLower(in.TableInput.Name)
	at := key(r, in.DatabaseName, in.TableInput.Name)
	if tx.Bucket(TableBucket).Get([]byte(at)) != nil {
		return nil, wire.Errf(400, "AlreadyExistsException", "Table already exists.")
	}
	now := float64(r.Now.Unix())
	return struct{}{}, store.Save(tx, TableBucket, at, table{
		tableInput: in.TableInput, DatabaseName: strings.ToLower(in.DatabaseName), CatalogID: r.Who.Account, CreatedBy: r.Who.ARN,
		CreateTime: now, UpdateTime: now, VersionID: "0",
	})
}

func findTable(tx *bolt.Tx, r *wire.Request, in tableName) (table, error) {
	if _, err := findDatabase(tx, r, databaseName{in.catalogInput, in.DatabaseName}); err != nil {
		return table{}, err
	}
	t, ok, err := store.Load[table](tx, TableBucket, key(r, in.DatabaseName, in.Name))
	if err == nil && !ok {
		err = notFound("Entity Not Found: Table %s not found.", in.Name)
	}
	return t, err
}

// Table is what Athena shows of a table.
type Table struct {
	Name                   string
	TableType              string `json:",omitempty"`
	CreateTime             float64
	Columns, PartitionKeys []Column
	Parameters             map[string]string
}

// Table reads a table for Athena; the error is Glue's own. The caller of r must
// have access to it.
func (s *Service) Table(tx *bolt.Tx, r *wire.Request, databaseName, name string) (Table, error) {
	if err := s.Allowed(r, "GetTable", s.resources(r, databaseName, name)...); err != nil {
		return Table{}, err
	}
	t, err := findTable(tx, r, tableName{DatabaseName: databaseName, Name: name})
	if err != nil {
		return Table{}, err
	}
	return t.forAthena(), nil
}

// Tables lists the tables of a database for Athena, as Table does one.
func (s *Service) Tables(tx *bolt.Tx, r *wire.Request, databaseName string) ([]Table, error) {
	if err := s.Allowed(r, "GetTables", s.resources(r, databaseName, "*")...); err != nil {
		return nil, err
	}
	all, err := listTables(tx, r, databaseName)
	list := []Table{}
	for _, t := range all {
		list = append(list, t.forAthena())
	}
	return list, err
}

func (t table) forAthena() Table {
	p := map[string]string{
		"location": t.StorageDescriptor.Location, "inputformat": t.StorageDescriptor.InputFormat, "outputformat": t.StorageDescriptor.OutputFormat,
	}
	if d := t.StorageDescriptor.SerdeInfo; d != nil {
		p["serde.serialization.lib"] = d.SerializationLibrary
		for k, v := range d.Parameters {
			p["serde.param."+k] = v
		}
	}
	for k, v := range t.Parameters {
		p[k] = v
	}
	return Table{t.Name, t.TableType, t.CreateTime, append([]Column{}, t.StorageDescriptor.Columns...), append([]Column{}, t.PartitionKeys...), p}
}

func getTable(tx *bolt.Tx, r *wire.Request, in tableName) (any, error) {
	t, err := findTable(tx, r, in)
	return map[string]any{"Table": t}, err
}

func listTables(tx *bolt.Tx, r *wire.Request, name string) ([]table, error) {
	if _, err := findDatabase(tx, r, databaseName{Name: name}); err != nil {
		return nil, err
	}
	list := []table{}
	return list, store.Each(tx, TableBucket, key(r, name)+"/", func(_ string, t table) error {
		list = append(list, t)
		return nil
	})
}

func getTables(tx *bolt.Tx, r *wire.Request, in getTablesInput) (any, error) {
	if err := in.check(r); err != nil {
		return nil, err
	}
	switch {
	case in.NextToken != "":
		return nil, invalid("The token is not valid.")
	case in.ExpressionFilter != "" || len(in.AttributesToGet) > 0 || in.IncludeStatus != nil:
		return nil, wire.NotImplemented(r.Service, "Expression, AttributesToGet and IncludeStatusDetails of "+r.Operation)
	}
	list, err := listTables(tx, r, in.DatabaseName)
	if in.MaxResults != nil && *in.MaxResults < len(list) {
		return nil, wire.NotImplemented(r.Service, "pages in "+r.Operation)
	}
	return map[string]any{"TableList": list}, err
}

func updateTable(tx *bolt.Tx, r *wire.Request, in updateTableInput) (any, error) {
	t, err := findTable(tx, r, tableName{in.catalogInput, in.DatabaseName, in.TableInput.Name})
	if err != nil {
		return nil, err
	}
	if err := in.TableInput.check(r); err != nil {
		return nil, err
	}
	if in.VersionID != "" && in.VersionID != t.VersionID {
		return nil, wire.Errf(400, "ConcurrentModificationException", "Update table failed due to concurrent modifications.")
	}
	version, err := strconv.Atoi(t.VersionID)
	if err != nil {
		return nil, err
	}
	in.TableInput.Name = t.Name
	t.tableInput, t.UpdateTime, t.VersionID = in.TableInput, float64(r.Now.Unix()), strconv.Itoa(version+1)
	return struct{}{}, store.Save(tx, TableBucket, key(r, in.DatabaseName, t.Name), t)
}

func deleteTable(tx *bolt.Tx, r *wire.Request, in tableName) (any, error) {
	if _, err := findTable(tx, r, in); err != nil {
		return nil, err
	}
	return struct{}{}, store.Remove(tx, TableBucket, key(r, in.DatabaseName, in.Name))
}

type getPartitionIndexesInput struct {
	catalogInput
	DatabaseName string
	TableName    string
	NextToken    string `json:",omitempty"`
}

// getPartitionIndexes finds none: CreateTable refuses them.
func getPartitionIndexes(tx *bolt.Tx, r *wire.Request, in getPartitionIndexesInput) (any, error) {
	if in.NextToken != "" {
		return nil, invalid("The token is not valid.")
	}
	_, err := findTable(tx, r, tableName{in.catalogInput, in.DatabaseName, in.TableName})
	return map[string]any{"PartitionIndexDescriptorList": []any{}}, err
}
