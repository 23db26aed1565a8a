package athena

import (
	"cmp"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// primary is the workgroup that every account has in every Region.
const primary = "primary"

// engineVersion is the version of Athena's engine that AUTO means.
const engineVersion = "Athena engine version 3"

// minCutoff is the least limit on scanned bytes.
const minCutoff = 10_000_000

type encryption struct {
	EncryptionOption string
	KmsKey           string `json:",omitempty"`
}

type resultConfiguration struct {
	OutputLocation          string      `json:",omitempty"`
	EncryptionConfiguration *encryption `json:",omitempty"`
	ExpectedBucketOwner     string      `json:",omitempty"`
}

type version struct {
	SelectedEngineVersion  string `json:",omitempty"`
	EffectiveEngineVersion string `json:",omitempty"`
}

type configuration struct {
	ResultConfiguration             *resultConfiguration `json:",omitempty"`
	EnforceWorkGroupConfiguration   *bool                `json:",omitempty"`
	PublishCloudWatchMetricsEnabled *bool                `json:",omitempty"`
	BytesScannedCutoffPerQuery      *int64               `json:",omitempty"`
	RequesterPaysEnabled            *bool                `json:",omitempty"`
	EngineVersion                   *version             `json:",omitempty"`
}

type tag struct{ Key, Value string }

type workGroup struct {
	Name          string
	State         string
	Description   string `json:",omitempty"`
	CreationTime  float64
	Configuration configuration
	Tags          []tag `json:",omitempty"` // not in answers
}

type createWorkGroupInput struct {
	Name          string
	Configuration *configuration `json:",omitempty"`
	Description   string         `json:",omitempty"`
	Tags          []tag          `json:",omitempty"`
}

type workGroupName struct{ WorkGroup string }

type deleteWorkGroupInput struct {
	WorkGroup             string
	RecursiveDeleteOption *bool `json:",omitempty"`
}

var outputLocation = regexp.MustCompile(`^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\x00-\x1f]*)?$`)

func (e *encryption) check(r *wire.Request) error {
	switch {
	case e == nil:
		return nil
	case e.EncryptionOption == "CSE_KMS":
		return wire.NotImplemented(r.Service, "the EncryptionOption CSE_KMS of "+r.Operation)
	case e.EncryptionOption != "SSE_S3" && e.EncryptionOption != "SSE_KMS":
		return invalid("EncryptionOption must be one of SSE_S3, SSE_KMS, CSE_KMS: %s", e.EncryptionOption)
	case (e.EncryptionOption == "SSE_KMS") != (e.KmsKey != ""):
		return invalid("KmsKey must be specified for SSE_KMS, and only for it.")
	}
	return nil
}

func (c resultConfiguration) check(r *wire.Request) error {
	if c.OutputLocation != "" && !outputLocation.MatchString(c.OutputLocation) {
		return invalid("outputLocation is not a valid S3 path.")
	}
	return c.EncryptionConfiguration.check(r)
}

// complete checks a configuration and sets what it leaves open.
func (c *configuration) complete(r *wire.Request) error {
	yes, no := true, false
	c.EnforceWorkGroupConfiguration = cmp.Or(c.EnforceWorkGroupConfiguration, &yes)
	c.PublishCloudWatchMetricsEnabled = cmp.Or(c.PublishCloudWatchMetricsEnabled, &yes)
	c.RequesterPaysEnabled = cmp.Or(c.RequesterPaysEnabled, &no)
	if c.ResultConfiguration == nil {
		c.ResultConfiguration = &resultConfiguration{}
	}
	v := c.EngineVersion
	switch {
	case *c.RequesterPaysEnabled:
		return wire.NotImplemented(r.Service, "RequesterPaysEnabled of "+r.Operation)
	case c.BytesScannedCutoffPerQuery != nil && *c.BytesScannedCutoffPerQuery < minCutoff:
		return invalid("BytesScannedCutoffPerQuery must be at least %d.", minCutoff)
	case v != nil && !slices.Contains([]string{"", "AUTO", engineVersion}, v.SelectedEngineVersion):
		return wire.NotImplemented(r.Service, "the engine version "+v.SelectedEngineVersion)
	case v == nil || v.SelectedEngineVersion == "":
		v = &version{SelectedEngineVersion: "AUTO"}
	}
	c.EngineVersion = &version{v.SelectedEngineVersion, engineVersion}
	return c.ResultConfiguration.check(r)
}

func createWorkGroup(tx *bolt.Tx, r *wire.Request, in createWorkGroupInput) (any, error) {
	if !workGroupPattern.MatchString(in.Name) {
		return nil, invalid("WorkGroup name must have 1 to 128 letters, digits, periods, underscores and hyphens.")
	}
	at := key(r, in.Name)
	if in.Name == primary || tx.Bucket(WorkGroupBucket).Get([]byte(at)) != nil {
		return nil, invalid("WorkGroup %s already exists", in.Name)
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if in.Configuration == nil {
		in.Configuration = &configuration{}
	}
	if err := in.Configuration.complete(r); err != nil {
		return nil, err
	}
	return struct{}{}, store.Save(tx, WorkGroupBucket, at, workGroup{in.Name, "ENABLED", in.Description, float64(r.Now.Unix()), *in.Configuration, in.Tags})
}

func findWorkGroup(tx *bolt.Tx, r *wire.Request, name string) (workGroup, error) {
	w, ok, err := store.Load[workGroup](tx, WorkGroupBucket, key(r, name))
	switch {
	case err != nil || ok:
		return w, err
	case name == primary:
		w = workGroup{Name: primary, State: "ENABLED"}
		no := false
		w.Configuration.EnforceWorkGroupConfiguration = &no
		return w, w.Configuration.complete(r)
	}
	return w, invalid("WorkGroup %s is not found.", name)
}

func getWorkGroup(tx *bolt.Tx, r *wire.Request, in workGroupName) (any, error) {
	w, err := findWorkGroup(tx, r, in.WorkGroup)
	w.Tags = nil
	return map[string]any{"WorkGroup": w}, err
}

type resultUpdates struct {
	OutputLocation                *string     `json:",omitempty"`
	RemoveOutputLocation          *bool       `json:",omitempty"`
	EncryptionConfiguration       *encryption `json:",omitempty"`
	RemoveEncryptionConfiguration *bool       `json:",omitempty"`
	ExpectedBucketOwner           *string     `json:",omitempty"`
	RemoveExpectedBucketOwner     *bool       `json:",omitempty"`
	RemoveACLConfiguration        *bool       `json:"RemoveAclConfiguration,omitempty"`
}

type configurationUpdates struct {
	EnforceWorkGroupConfiguration    *bool          `json:",omitempty"`
	ResultConfigurationUpdates       *resultUpdates `json:",omitempty"`
	PublishCloudWatchMetricsEnabled  *bool          `json:",omitempty"`
	BytesScannedCutoffPerQuery       *int64         `json:",omitempty"`
	RemoveBytesScannedCutoffPerQuery *bool          `json:",omitempty"`
	RequesterPaysEnabled             *bool          `json:",omitempty"`
	EngineVersion                    *version       `json:",omitempty"`
}

type updateWorkGroupInput struct {
	WorkGroup            string
	Description          *string               `json:",omitempty"`
	State                string                `json:",omitempty"`
	ConfigurationUpdates *configurationUpdates `json:",omitempty"`
}

func isTrue(b *bool) bool { return b != nil && *b }

func updateWorkGroup(tx *bolt.Tx, r *wire.Request, in updateWorkGroupInput) (any, error) {
	w, err := findWorkGroup(tx, r, in.WorkGroup)
	if err != nil {
		return nil, err
	}
	if in.Description != nil {
		w.Description = *in.Description
	}
	if !slices.Contains([]string{"", "ENABLED", "DISABLED"}, in.State) {
		return nil, invalid("State must be ENABLED or DISABLED: %s", in.State)
	}
	w.State = cmp.Or(in.State, w.State)
	if u := in.ConfigurationUpdates; u != nil {
		c := &w.Configuration
		c.EnforceWorkGroupConfiguration = cmp.Or(u.EnforceWorkGroupConfiguration, c.EnforceWorkGroupConfiguration)
		c.PublishCloudWatchMetricsEnabled = cmp.Or(u.PublishCloudWatchMetricsEnabled, c.PublishCloudWatchMetricsEnabled)
		c.RequesterPaysEnabled = cmp.Or(u.RequesterPaysEnabled, c.RequesterPaysEnabled)
		c.BytesScannedCutoffPerQuery = cmp.Or(u.BytesScannedCutoffPerQuery, c.BytesScannedCutoffPerQuery)
		c.EngineVersion = cmp.Or(u.EngineVersion, c.EngineVersion)
		if isTrue(u.RemoveBytesScannedCutoffPerQuery) {
			c.BytesScannedCutoffPerQuery = nil
		}
		if x := u.ResultConfigurationUpdates; x != nil {
			x.apply(c.ResultConfiguration)
		}
		if err := c.complete(r); err != nil {
			return nil, err
		}
	}
	return struct{}{}, store.Save(tx, WorkGroupBucket, key(r, w.Name), w)
}

func (u resultUpdates) apply(c *resultConfiguration) {
	if u.OutputLocation != nil {
		c.OutputLocation = *u.OutputLocation
	}
	if u.ExpectedBucketOwner != nil {
		c.ExpectedBucketOwner = *u.ExpectedBucketOwner
	}
	c.EncryptionConfiguration = cmp.Or(u.EncryptionConfiguration, c.EncryptionConfiguration)
	if isTrue(u.RemoveOutputLocation) {
		c.OutputLocation = ""
	}
	if isTrue(u.RemoveExpectedBucketOwner) {
		c.ExpectedBucketOwner = ""
	}
	if isTrue(u.RemoveEncryptionConfiguration) {
		c.EncryptionConfiguration = nil
	}
}

func deleteWorkGroup(tx *bolt.Tx, r *wire.Request, in deleteWorkGroupInput) (any, error) {
	w, err := findWorkGroup(tx, r, in.WorkGroup)
	if err != nil {
		return nil, err
	}
	if w.Name == primary {
		return nil, invalid("The primary workgroup cannot be deleted.")
	}
	var queries []string
	err = store.Each(tx, QueryBucket, key(r, ""), func(k string, q query) error {
		if q.WorkGroup == w.Name {
			queries = append(queries, k)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(queries) > 0 && !isTrue(in.RecursiveDeleteOption) {
		return nil, invalid("WorkGroup %s is not empty", w.Name)
	}
	for _, k := range queries {
		if err := store.Remove(tx, QueryBucket, k); err != nil {
			return nil, err
		}
	}
	return struct{}{}, store.Remove(tx, WorkGroupBucket, key(r, w.Name))
}

type listInput struct {
	NextToken  string `json:",omitempty"`
	MaxResults *int   `json:",omitempty"`
}

func listWorkGroups(tx *bolt.Tx, r *wire.Request, in listInput) (any, error) {
	if in.NextToken != "" {
		return nil, invalid("The token is not valid.")
	}
	first, err := findWorkGroup(tx, r, primary)
	if err != nil {
		return nil, err
	}
	all := []workGroup{first}
	err = store.Each(tx, WorkGroupBucket, key(r, ""), func(_ string, w workGroup) error {
		if w.Name != primary {
			all = append(all, w)
		}
		return nil
	})
	if in.MaxResults != nil && *in.MaxResults < len(all) || len(all) > 50 {
		return nil, wire.NotImplemented(r.Service, "pages in "+r.Operation)
	}
	list := []map[string]any{}
	for _, w := range all {
		list = append(list, map[string]any{"Name": w.Name, "State": w.State, "Description": w.Description, "CreationTime": w.CreationTime, "EngineVersion": w.Configuration.EngineVersion})
	}
	return map[string]any{"WorkGroups": list}, err
}

type listTagsInput struct {
	ResourceARN string
	NextToken   string `json:",omitempty"`
	MaxResults  *int   `json:",omitempty"`
}

// taggedWorkGroup finds the workgroup that an ARN names.
func taggedWorkGroup(tx *bolt.Tx, r *wire.Request, arn string) (workGroup, error) {
	name, ok := strings.CutPrefix(arn, "arn:aws:athena:"+r.Region+":"+r.Who.Account+":workgroup/")
	if !ok {
		return workGroup{}, wire.NotImplemented(r.Service, "tags of other resources than workgroups")
	}
	w, err := findWorkGroup(tx, r, name)
	var e *wire.Error
	if errors.As(err, &e) {
		err = wire.Errf(http.StatusBadRequest, "ResourceNotFoundException", "Resource %s is not found.", arn)
	}
	return w, err
}

func listTags(tx *bolt.Tx, r *wire.Request, in listTagsInput) (any, error) {
	w, err := taggedWorkGroup(tx, r, in.ResourceARN)
	return map[string]any{"Tags": slices.Concat([]tag{}, w.Tags)}, err
}

type tagResourceInput struct {
	ResourceARN string
	Tags        []tag
}

type untagResourceInput struct {
	ResourceARN string
	TagKeys     []string
}

// maxTags is how many tags a resource can have.
const maxTags = 50

// checkTags holds tags to Athena's limits.
// Source: https://docs.aws.amazon.com/athena/latest/APIReference/API_Tag.html
func checkTags(tags []tag) error {
	if len(tags) > maxTags {
		return invalid("A resource can have %d tags at most.", maxTags)
	}
	for i, t := range tags {
		if n := len([]rune(t.Key)); n < 1 || n > 128 || len([]rune(t.Value)) > 256 || slices.ContainsFunc(tags[:i], func(other tag) bool { return other.Key == t.Key }) {
			return invalid("The tag %q is not valid, or the list has it twice.", t.Key)
		}
	}
	return nil
}

// tagResource adds tags, or changes their values.
func tagResource(tx *bolt.Tx, r *wire.Request, in tagResourceInput) (any, error) {
	w, err := taggedWorkGroup(tx, r, in.ResourceARN)
	if err != nil {
		return nil, err
	}
	for _, t := range in.Tags {
		w.Tags = slices.DeleteFunc(w.Tags, func(other tag) bool { return other.Key == t.Key })
	}
	w.Tags = append(w.Tags, in.Tags...)
	if err := checkTags(w.Tags); err != nil {
		return nil, err
	}
	return struct{}{}, store.Save(tx, WorkGroupBucket, key(r, w.Name), w)
}

func untagResource(tx *bolt.Tx, r *wire.Request, in untagResourceInput) (any, error) {
	w, err := taggedWorkGroup(tx, r, in.ResourceARN)
	if err != nil {
		return nil, err
	}
	w.Tags = slices.DeleteFunc(w.Tags, func(t tag) bool { return slices.Contains(in.TagKeys, t.Key) })
	return struct{}{}, store.Save(tx, WorkGroupBucket, key(r, w.Name), w)
}

func key(r *wire.Request, name string) string { return store.Key(r.Who.Account, r.Region, name) }
