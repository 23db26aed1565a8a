package trail

import (
	"cmp"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Trails: their settings and their state. What a trail delivers is in
// delivery.go.

// The buckets, in the database, of trails.
var (
	TrailBucket   = []byte("trails")            // account/region/name
	DeletedBucket = []byte("trails-deleted")    // id: until everything is delivered
	PendingBucket = []byte("trail-undelivered") // id/account/region/sequence: events that are not delivered yet
	DigestBucket  = []byte("trail-chains")      // id/account/region: the state of a chain of digests
	SignerBucket  = []byte("trail-signers")     // region: the key that signs digests
)

// maxTrails is how many trails a Region can have.
const maxTrails = 5

// Buckets are all buckets of this package.
func Buckets() [][]byte {
	return [][]byte{Bucket, TrailBucket, DeletedBucket, PendingBucket, DigestBucket, SignerBucket}
}

// trailConfig is a trail.
type trailConfig struct {
	ID                   string // of this trail: another that later has its name has another
	Account, Region      string
	Name                 string
	S3Bucket, Prefix     string
	GlobalEvents         bool
	MultiRegion          bool
	Organization         string // ID of the organization whose trail it is; empty for one account's
	Validation           bool
	KMSKeyARN            string
	Tags                 []trailTag
	ReadWriteType        string   // "All", "ReadOnly" or "WriteOnly"
	ExcludedSources      []string // of management events
	NoManagement         bool     // no management events at all
	Objects              []string // of which S3 objects the data events are logged: beginnings of their ARNs
	Logging              bool
	Started, Stopped     time.Time
	Deleted              time.Time `json:",omitzero"`
	Delivered            time.Time // of the newest log file
	DigestDelivered      time.Time
	LastError            string // code of the last attempt's error
	LastDigestError      string
	Attempted, Succeeded time.Time
}

type trailTag struct {
	Key   string
	Value string `json:",omitempty"`
}

func (t trailConfig) arn() string { return trailARNOf(t.Account, t.Region, t.Name) }

func trailARNOf(account, region, name string) string {
	return "arn:aws:cloudtrail:" + region + ":" + account + ":trail/" + name
}

func (t trailConfig) storeKey() string { return store.Key(t.Account, t.Region, t.Name) }

// isIn reports whether the trail exists in a Region, be it as a shadow.
func (t trailConfig) isIn(region string) bool { return t.MultiRegion || t.Region == region }

// covers reports whether the trail receives the events of an account in a Region.
func (t trailConfig) covers(o *Organization, account, region string) bool {
	return t.isIn(region) && (t.Account == account || t.isSharedWith(o, account))
}

// wants reports whether the trail logs an event.
func (t trailConfig) wants(o *Organization, record trailRecord) bool {
	switch {
	case !t.Logging || !t.covers(o, record.RecipientAccountID, record.AWSRegion):
		return false
	case t.ReadWriteType == "ReadOnly" && !record.ReadOnly, t.ReadWriteType == "WriteOnly" && record.ReadOnly:
		return false
	}
	if record.ManagementEvent {
		return !t.NoManagement && !slices.Contains(t.ExcludedSources, record.EventSource)
	}
	return t.wantsObjects(record.Resources)
}

// ObjectType is the type of S3's objects, in records and in event selectors.
const ObjectType = "AWS::S3::Object"

// allObjects selects the objects of all buckets.
const allObjects = "arn:aws:s3"

// wantsObjects reports whether the trail logs the data events of an object, or of
// all objects with a prefix.
func (t trailConfig) wantsObjects(resources []trailRecordResource) bool {
	for _, resource := range resources {
		if resource.Type != ObjectType {
			continue
		}
		arn := resource.ARN + resource.ARNPrefix
		return slices.ContainsFunc(t.Objects, func(selected string) bool { return strings.HasPrefix(arn, selected) })
	}
	return false
}

// LogsObjects reports whether any trail may log data events: most accounts have
// none, and then there is nothing to write.
func (s *Service) LogsObjects() bool {
	return slices.ContainsFunc(*s.trails.Load(), func(t trailConfig) bool { return t.Logging && len(t.Objects) > 0 })
}

// operation makes a handler of f, which may change the state: the change and the
// event are one transaction. resource is the ARN that the caller must have access
// to, "*" for an operation that is not about one trail.
//
// prepare, where there is one, runs before the transaction: it may call other
// services, and replace what the request names by what it means.
func operation[In any](s *Service, readOnly bool, resource func(*wire.Request, In) string, prepare func(*wire.Request, *In) error, f func(*bolt.Tx, *wire.Request, In) (any, error)) wire.JSONHandler {
	return func(r *wire.Request, body []byte) (any, error) {
		in, err := wire.Decode[In](r.Service, r.Operation, body)
		if err != nil {
			return nil, err
		}
		var out any
		e := Event{Request: r, Source: "cloudtrail.amazonaws.com", Name: r.Operation, ReadOnly: readOnly, Parameters: Parameters(in)}
		on := resource(r, in)
		if why := s.identities.RefusalOn(r, "cloudtrail:"+r.Operation, on); why != "" {
			err = wire.Errf(http.StatusBadRequest, "AccessDeniedException", "%s", why)
		} else if prepare != nil {
			err = prepare(r, &in)
		}
		if err != nil {
			return nil, s.RecordResult(e, err)
		}
		if readOnly {
			err = s.db.View(func(tx *bolt.Tx) error { out, err = f(tx, r, in); return err })
		} else {
			recorded := false
			err = s.db.Update(func(tx *bolt.Tx) error {
				if out, err = f(tx, r, in); err != nil {
					return err
				}
				recorded = true
				done := e
				done.Response = Parameters(out)
				// The last event that its trail logs; of DeleteTrail, [U].
				if r.Operation == "StopLogging" || r.Operation == "DeleteTrail" {
					if err = s.RecordIn(tx, done); err != nil {
						return err
					}
					return s.loadTrails(tx)
				}
				// After the change: StartLogging is the first event of a trail.
				if err = s.loadTrails(tx); err != nil {
					return err
				}
				return s.RecordIn(tx, done)
			})
			if err == nil {
				return out, nil
			}
			if recorded { // the change was not made
				if err := s.db.View(s.loadTrails); err != nil {
					return nil, err
				}
			}
		}
		return out, s.RecordResult(e, err)
	}
}

// RecordResult records the event of a call that changed nothing: it read, or failed with
// err. It returns err, or why there is no record.
func (s *Service) RecordResult(e Event, err error) error {
	e.Fail(err)
	if recordErr := s.Record(e); recordErr != nil {
		return recordErr
	}
	return err
}

// Parameters is a request or a response as its record shows it: what it names,
// names with a lower-case first letter; nil if it names nothing.
func Parameters(in any) any {
	b, _ := json.Marshal(in) // strings, numbers and booleans: always encodes
	var m map[string]any
	if json.Unmarshal(b, &m) != nil {
		return nil
	}
	p := map[string]any{}
	for name, value := range m {
		if value != nil && value != "" {
			p[strings.ToLower(name[:1])+name[1:]] = value
		}
	}
	if len(p) == 0 {
		return nil
	}
	return p
}

// loadTrails makes the trails of the database visible to [Service.write].
func (s *Service) loadTrails(tx *bolt.Tx) error {
	var all []trailConfig
	err := store.Each(tx, TrailBucket, "", func(_ string, t trailConfig) error { all = append(all, t); return nil })
	if err == nil {
		s.trails.Store(&all)
	}
	return err
}

func anyResource[In any](*wire.Request, In) string { return "*" }

// named is the ARN of the trail that a request names.
func named(r *wire.Request, name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	return trailARNOf(r.Who.Account, r.Region, name)
}

// findTrail finds the caller's trail by its name or ARN, and a trail of the caller's
// organization by its ARN alone. home demands that the trail is the caller's, and the
// Region of the request its home Region.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_GetTrailStatus.html
func (s *Service) findTrail(tx *bolt.Tx, r *wire.Request, name string, home bool) (trailConfig, error) {
	if err := checkTrail(name); err != nil {
		return trailConfig{}, err
	}
	arn := named(r, name)
	part := strings.SplitN(arn, ":", 6)
	region, account := part[3], part[4]
	t, ok, err := store.Load[trailConfig](tx, TrailBucket, store.Key(account, region, strings.TrimPrefix(part[5], "trail/")))
	if err != nil {
		return t, err
	}
	if !ok && !strings.HasPrefix(name, "arn:") { // the shadow of a trail with another home Region
		err = store.Each(tx, TrailBucket, r.Who.Account+"/", func(_ string, other trailConfig) error {
			if other.Name == name && other.MultiRegion {
				t, ok = other, true
			}
			return nil
		})
		if err != nil {
			return t, err
		}
	}
	shared := t.isSharedWith(s.organization.Load(), r.Who.Account)
	switch {
	case !ok || t.Account != r.Who.Account && !shared || !t.isIn(r.Region):
		return trailConfig{}, wire.Errf(http.StatusBadRequest, "TrailNotFoundException", "Unknown trail: %s for the user: %s", arn, r.Who.Account)
	case home && shared:
		return trailConfig{}, errNotManagement()
	case home && t.Region != r.Region:
		return trailConfig{}, wire.Errf(http.StatusBadRequest, "InvalidHomeRegionException", "Trail %s must be updated from its home region: %s.", t.arn(), t.Region)
	}
	return t, nil
}

// trailSettings are the parameters that CreateTrail and UpdateTrail share.
type trailSettings struct {
	Name                       string
	S3BucketName               *string `json:",omitempty"`
	S3KeyPrefix                *string `json:",omitempty"`
	SnsTopicName               *string `json:",omitempty"`
	IncludeGlobalServiceEvents *bool   `json:",omitempty"`
	IsMultiRegionTrail         *bool   `json:",omitempty"`
	EnableLogFileValidation    *bool   `json:",omitempty"`
	CloudWatchLogsLogGroupArn  *string `json:",omitempty"`
	CloudWatchLogsRoleArn      *string `json:",omitempty"`
	KmsKeyId                   *string `json:",omitempty"`
	IsOrganizationTrail        *bool   `json:",omitempty"`
}

type createTrailInput struct {
	trailSettings
	TagsList []trailTag `json:",omitempty"`
}

// trailOutput is a trail as CreateTrail and UpdateTrail return it.
type trailOutput struct {
	Name                       string
	S3BucketName               string
	S3KeyPrefix                string `json:",omitempty"`
	IncludeGlobalServiceEvents bool
	IsMultiRegionTrail         bool
	TrailARN                   string
	LogFileValidationEnabled   bool
	KmsKeyId                   string `json:",omitempty"`
	IsOrganizationTrail        bool
}

// describedTrail is a trail as DescribeTrails and GetTrail return it.
type describedTrail struct {
	trailOutput
	HomeRegion              string
	HasCustomEventSelectors bool
	HasInsightSelectors     bool
}

func (t trailConfig) output() trailOutput {
	return trailOutput{t.Name, t.S3Bucket, t.Prefix, t.GlobalEvents, t.MultiRegion, t.arn(), t.Validation, t.KMSKeyARN, t.Organization != ""}
}

func (t trailConfig) described() describedTrail {
	custom := t.ReadWriteType != "All" || len(t.ExcludedSources) > 0 || t.NoManagement || len(t.Objects) > 0
	return describedTrail{t.output(), t.Region, custom, false}
}

// newTrail is the trail that CreateTrail would make.
func (s *Service) newTrail(tx *bolt.Tx, r *wire.Request, in createTrailInput) (trailConfig, error) {
	var t trailConfig
	if strings.HasPrefix(in.Name, "arn:") {
		return t, wire.Errf(http.StatusBadRequest, "InvalidTrailNameException", "Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens (-), and underscores (_).")
	}
	if err := checkTrail(in.Name); err != nil {
		return t, err
	}
	t = trailConfig{ID: wire.NewUUID(), Account: r.Who.Account, Region: r.Region, Name: in.Name, GlobalEvents: true, ReadWriteType: "All", Tags: in.TagsList}
	here := 0
	err := store.Each(tx, TrailBucket, r.Who.Account+"/", func(_ string, other trailConfig) error {
		switch {
		case other.Name == t.Name && other.isIn(t.Region):
			return wire.Errf(http.StatusBadRequest, "TrailAlreadyExistsException", "Trail %s already exists for customer: %s", t.Name, t.Account)
		case other.isIn(t.Region):
			here++
		}
		return nil
	})
	if err != nil {
		return t, err
	}
	if here >= maxTrails {
		return t, wire.Errf(http.StatusBadRequest, "MaximumNumberOfTrailsExceededException", "User: %s already has %d trails in %s.", t.Account, here, t.Region)
	}
	return t, s.configure(&t, r, in.trailSettings)
}

func (s *Service) prepareCreate(r *wire.Request, in *createTrailInput) error {
	return s.prepare(r, &in.trailSettings, func(tx *bolt.Tx) (trailConfig, error) { return s.newTrail(tx, r, *in) })
}

func (s *Service) createTrail(tx *bolt.Tx, r *wire.Request, in createTrailInput) (any, error) {
	t, err := s.newTrail(tx, r, in)
	if err != nil {
		return nil, err
	}
	return t.output(), store.Save(tx, TrailBucket, t.storeKey(), t)
}

func (s *Service) changedTrail(tx *bolt.Tx, r *wire.Request, in trailSettings) (trailConfig, error) {
	t, err := s.findTrail(tx, r, in.Name, true)
	if err != nil {
		return t, err
	}
	return t, s.configure(&t, r, in)
}

func (s *Service) prepareUpdate(r *wire.Request, in *trailSettings) error {
	return s.prepare(r, in, func(tx *bolt.Tx) (trailConfig, error) { return s.changedTrail(tx, r, *in) })
}

func (s *Service) updateTrail(tx *bolt.Tx, r *wire.Request, in trailSettings) (any, error) {
	before, err := s.findTrail(tx, r, in.Name, true)
	if err != nil {
		return nil, err
	}
	t, err := s.changedTrail(tx, r, in)
	if err != nil {
		return nil, err
	}
	if before.MultiRegion && !t.MultiRegion {
		return nil, wire.NotImplemented(r.Service, "changing IsMultiRegionTrail from true to false with UpdateTrail")
	}
	if before.Organization != t.Organization && hasAny(tx, DigestBucket, t.ID+"/") {
		return nil, wire.NotImplemented(r.Service, "changing IsOrganizationTrail with UpdateTrail while a digest file is due")
	}
	if t.Logging && t.Validation {
		if err := s.startChains(tx, t, r.Now); err != nil {
			return nil, err
		}
	}
	if before.Validation && !t.Validation {
		if err := removeAll(tx, DigestBucket, t.ID+"/"); err != nil {
			return nil, err
		}
	}
	return t.output(), store.Save(tx, TrailBucket, t.storeKey(), t)
}

// prepare checks that the trail that of returns for the settings can deliver, and
// replaces the name of its key by the key's ARN.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-create-and-update-an-organizational-trail-by-using-the-aws-cli.html
func (s *Service) prepare(r *wire.Request, in *trailSettings, of func(*bolt.Tx) (trailConfig, error)) error {
	var t trailConfig
	if err := s.db.View(func(tx *bolt.Tx) (err error) { t, err = of(tx); return err }); err != nil {
		return err
	}
	region, ok := s.store.BucketRegion(t.S3Bucket)
	if !ok {
		return wire.Errf(http.StatusBadRequest, "S3BucketDoesNotExistException", "S3 bucket %s does not exist!", t.S3Bucket)
	}
	if in.KmsKeyId != nil && *in.KmsKeyId != "" {
		arn, state, err := s.store.ResolveKey(t.Account, region, *in.KmsKeyId)
		switch {
		case err != nil:
			return wire.Errf(http.StatusBadRequest, "KmsKeyNotFoundException", "KMS key %s not found, or it is not in the Region of the S3 bucket.", *in.KmsKeyId)
		case state != "Enabled":
			return wire.Errf(http.StatusBadRequest, "KmsException", "KMS key %s is not enabled.", arn)
		}
		in.KmsKeyId, t.KMSKeyARN = &arn, arn
	}
	checked := []trailConfig{t}
	if t.Organization != "" { // also as the trail of one account that it may become
		alone := t
		alone.Organization = ""
		checked = append(checked, alone)
	}
	var noKey error
	for _, c := range checked {
		for _, kind := range []string{logFolder, digestFolder} {
			noAccess, err := s.store.CheckDelivery(c.delivery(kind, c.folder(kind, c.home())+"check", nil, r.Now))
			if noAccess != nil {
				return wire.Errf(http.StatusBadRequest, "InsufficientS3BucketPolicyException", "Incorrect S3 bucket policy is detected for bucket: %s", t.S3Bucket)
			}
			noKey = cmp.Or(noKey, err)
		}
	}
	if noKey != nil {
		return wire.Errf(http.StatusBadRequest, "InsufficientEncryptionPolicyException", "Insufficient permissions to access S3 bucket %s or KMS key %s.", t.S3Bucket, cmp.Or(t.KMSKeyARN, "of the bucket"))
	}
	return nil
}

// configure applies settings to a trail.
func (s *Service) configure(t *trailConfig, r *wire.Request, in trailSettings) error {
	for name, value := range map[string]*string{"SnsTopicName": in.SnsTopicName, "CloudWatchLogsLogGroupArn": in.CloudWatchLogsLogGroupArn, "CloudWatchLogsRoleArn": in.CloudWatchLogsRoleArn} {
		if value != nil && *value != "" {
			return wire.NotImplemented(r.Service, "the parameter "+name+" of "+r.Operation)
		}
	}
	if err := s.setOrganization(t, r, in.IsOrganizationTrail); err != nil {
		return err
	}
	set(&t.S3Bucket, in.S3BucketName)
	set(&t.Prefix, in.S3KeyPrefix)
	set(&t.GlobalEvents, in.IncludeGlobalServiceEvents)
	set(&t.MultiRegion, in.IsMultiRegionTrail)
	set(&t.Validation, in.EnableLogFileValidation)
	set(&t.KMSKeyARN, in.KmsKeyId)
	switch {
	case t.MultiRegion && !t.GlobalEvents:
		return wire.Errf(http.StatusBadRequest, "InvalidParameterCombinationException", "Multi-Region trail must include global service events.")
	case len(t.Prefix) > 200:
		return wire.Errf(http.StatusBadRequest, "InvalidS3PrefixException", "S3 prefix is longer than maximum length.")
	case !bucketName.MatchString(t.S3Bucket):
		return wire.Errf(http.StatusBadRequest, "InvalidS3BucketNameException", "Bucket name is not valid: %s", t.S3Bucket)
	}
	return nil
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

type trailNameInput struct{ Name string }

func trailNamed(r *wire.Request, in trailNameInput) string { return named(r, in.Name) }

// deleteTrail keeps a trail that has events or a digest to deliver until they are.
func (s *Service) deleteTrail(tx *bolt.Tx, r *wire.Request, in trailNameInput) (any, error) {
	t, err := s.findTrail(tx, r, in.Name, true)
	if err != nil {
		return nil, err
	}
	if err := store.Remove(tx, TrailBucket, t.storeKey()); err != nil {
		return nil, err
	}
	if t.Logging {
		t.Logging, t.Stopped = false, r.Now.UTC()
	}
	t.Deleted = r.Now.UTC()
	return struct{}{}, store.Save(tx, DeletedBucket, t.ID, t)
}

func removeAll(tx *bolt.Tx, bucket []byte, prefix string) error {
	var keys [][]byte
	c := tx.Bucket(bucket).Cursor()
	for k, _ := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); k, _ = c.Next() {
		keys = append(keys, slices.Clone(k))
	}
	for _, k := range keys {
		if err := tx.Bucket(bucket).Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) startLogging(tx *bolt.Tx, r *wire.Request, in trailNameInput) (any, error) {
	t, err := s.findTrail(tx, r, in.Name, true)
	if err != nil || t.Logging {
		return struct{}{}, err
	}
	t.Logging, t.Started = true, r.Now.UTC()
	if t.Validation {
		if err := s.startChains(tx, t, r.Now); err != nil {
			return nil, err
		}
	}
	return struct{}{}, store.Save(tx, TrailBucket, t.storeKey(), t)
}

// stopLogging leaves what is recorded to be delivered, StopLogging included, with
// one last digest.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
func (s *Service) stopLogging(tx *bolt.Tx, r *wire.Request, in trailNameInput) (any, error) {
	t, err := s.findTrail(tx, r, in.Name, true)
	if err != nil || !t.Logging {
		return struct{}{}, err
	}
	t.Logging, t.Stopped = false, r.Now.UTC()
	return struct{}{}, store.Save(tx, TrailBucket, t.storeKey(), t)
}

type describeTrailsInput struct {
	TrailNameList       []string `json:"trailNameList"`
	IncludeShadowTrails *bool    `json:"includeShadowTrails"`
}

// describeTrails leaves out the names that it does not find.
func (s *Service) describeTrails(tx *bolt.Tx, r *wire.Request, in describeTrailsInput) (any, error) {
	for _, name := range in.TrailNameList {
		if err := checkTrail(name); err != nil {
			return nil, err
		}
	}
	shadows := in.IncludeShadowTrails == nil || *in.IncludeShadowTrails
	list := []describedTrail{}
	err := store.Each(tx, TrailBucket, "", func(_ string, t trailConfig) error {
		own := t.Account == r.Who.Account
		wanted := len(in.TrailNameList) == 0 || own && slices.Contains(in.TrailNameList, t.Name) || slices.Contains(in.TrailNameList, t.arn())
		shadow := shadows && t.isIn(r.Region) && (own || t.isSharedWith(s.organization.Load(), r.Who.Account))
		if wanted && (own && t.Region == r.Region || shadow) {
			list = append(list, t.described())
		}
		return nil
	})
	return map[string]any{"trailList": list}, err
}

type listTrailsInput struct{ NextToken string }

func (s *Service) listTrails(tx *bolt.Tx, r *wire.Request, in listTrailsInput) (any, error) {
	if in.NextToken != "" {
		return nil, wire.Errf(http.StatusBadRequest, "InvalidNextTokenException", "The token is not valid.")
	}
	list := []map[string]string{}
	err := store.Each(tx, TrailBucket, "", func(_ string, t trailConfig) error {
		switch {
		case t.isSharedWith(s.organization.Load(), r.Who.Account): // whether it is listed is not documented
			return wire.NotImplemented(r.Service, "ListTrails in a member account of an organization that has a trail")
		case t.Account != r.Who.Account:
			return nil
		}
		list = append(list, map[string]string{"TrailARN": t.arn(), "Name": t.Name, "HomeRegion": t.Region})
		return nil
	})
	return map[string]any{"Trails": list}, err
}

func (s *Service) getTrail(tx *bolt.Tx, r *wire.Request, in trailNameInput) (any, error) {
	t, err := s.findTrail(tx, r, in.Name, false)
	if err != nil {
		return nil, err
	}
	return map[string]any{"Trail": t.described()}, nil
}

type trailStatus struct {
	IsLogging                          bool
	LatestDeliveryError                string   `json:",omitempty"`
	LatestDeliveryTime                 *float64 `json:",omitempty"`
	StartLoggingTime                   *float64 `json:",omitempty"`
	StopLoggingTime                    *float64 `json:",omitempty"`
	LatestDigestDeliveryTime           *float64 `json:",omitempty"`
	LatestDigestDeliveryError          string   `json:",omitempty"`
	LatestDeliveryAttemptTime          string
	LatestDeliveryAttemptSucceeded     string
	TimeLoggingStarted                 string
	TimeLoggingStopped                 string
	LatestNotificationAttemptTime      string
	LatestNotificationAttemptSucceeded string
}

func (s *Service) getTrailStatus(tx *bolt.Tx, r *wire.Request, in trailNameInput) (any, error) {
	t, err := s.findTrail(tx, r, in.Name, false)
	if err != nil {
		return nil, err
	}
	seconds := func(at time.Time) *float64 {
		if at.IsZero() {
			return nil
		}
		v := float64(at.UnixMilli()) / 1000
		return &v
	}
	text := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.UTC().Format(time.RFC3339)
	}
	return trailStatus{
		IsLogging: t.Logging, LatestDeliveryError: t.LastError, LatestDeliveryTime: seconds(t.Delivered),
		StartLoggingTime: seconds(t.Started), StopLoggingTime: seconds(t.Stopped),
		LatestDigestDeliveryTime: seconds(t.DigestDelivered), LatestDigestDeliveryError: t.LastDigestError,
		LatestDeliveryAttemptTime: text(t.Attempted), LatestDeliveryAttemptSucceeded: text(t.Succeeded),
		TimeLoggingStarted: text(t.Started), TimeLoggingStopped: text(t.Stopped),
	}, nil
}

type eventSelector struct {
	ReadWriteType                 string
	IncludeManagementEvents       *bool
	DataResources                 []dataResource
	ExcludeManagementEventSources []string
}

type dataResource struct {
	Type   string
	Values []string
}

type putEventSelectorsInput struct {
	TrailName      string
	EventSelectors []eventSelector
}

type getEventSelectorsInput struct{ TrailName string }

// putEventSelectors serves one selector: of management events, of the data events
// of S3's objects, or of both.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_PutEventSelectors.html
func (s *Service) putEventSelectors(tx *bolt.Tx, r *wire.Request, in putEventSelectorsInput) (any, error) {
	t, err := s.findTrail(tx, r, in.TrailName, true)
	if err != nil {
		return nil, err
	}
	if len(in.EventSelectors) != 1 {
		if len(in.EventSelectors) == 0 {
			return nil, errSelector("At least one event selector is required.")
		}
		return nil, wire.NotImplemented(r.Service, "several EventSelectors of PutEventSelectors")
	}
	e := in.EventSelectors[0]
	objects, err := e.objects(r)
	if err != nil {
		return nil, err
	}
	noManagement := e.IncludeManagementEvents != nil && !*e.IncludeManagementEvents
	switch {
	case noManagement && len(objects) == 0:
		return nil, errSelector("An event selector that excludes management events must have data resources.")
	case !slices.Contains([]string{"", "All", "ReadOnly", "WriteOnly"}, e.ReadWriteType):
		return nil, errSelector("ReadWriteType must be one of All, ReadOnly and WriteOnly: %s", e.ReadWriteType)
	}
	for _, source := range e.ExcludeManagementEventSources {
		if source != "kms.amazonaws.com" && source != "rdsdata.amazonaws.com" {
			return nil, errSelector("ExcludeManagementEventSources can contain kms.amazonaws.com and rdsdata.amazonaws.com: %s", source)
		}
	}
	t.ReadWriteType, t.ExcludedSources = cmp.Or(e.ReadWriteType, "All"), e.ExcludeManagementEventSources
	t.NoManagement, t.Objects = noManagement, objects
	return t.selectors(), store.Save(tx, TrailBucket, t.storeKey(), t)
}

func errSelector(message string, args ...any) error {
	return wire.Errf(http.StatusBadRequest, "InvalidEventSelectorsException", message, args...)
}

// maxDataResources is how many values the data resources of a trail can have.
const maxDataResources = 250

// objects is the beginnings of the objects' ARNs that the selector names.
func (e eventSelector) objects(r *wire.Request) ([]string, error) {
	var objects []string
	for _, resource := range e.DataResources {
		if resource.Type != ObjectType {
			return nil, wire.NotImplemented(r.Service, "the type "+resource.Type+" of EventSelectors.DataResources of PutEventSelectors")
		}
		if len(resource.Values) == 0 {
			return nil, errSelector("DataResources must have at least one value.")
		}
		for _, value := range resource.Values {
			rest, ok := strings.CutPrefix(value, allObjects+":::")
			bucket, _, slash := strings.Cut(rest, "/")
			switch {
			case value == allObjects || value == allObjects+":::":
			case !ok || !slash || !bucketName.MatchString(bucket):
				return nil, errSelector("Value %s for DataResources.Values is invalid.", value)
			}
			objects = append(objects, value)
		}
	}
	if len(objects) > maxDataResources {
		return nil, errSelector("The maximum number of data resources is %d.", maxDataResources)
	}
	return objects, nil
}

func (s *Service) getEventSelectors(tx *bolt.Tx, r *wire.Request, in getEventSelectorsInput) (any, error) {
	t, err := s.findTrail(tx, r, in.TrailName, false)
	if err != nil {
		return nil, err
	}
	return t.selectors(), nil
}

func (t trailConfig) selectors() any {
	resources := []any{}
	if len(t.Objects) > 0 {
		resources = append(resources, map[string]any{"Type": ObjectType, "Values": t.Objects})
	}
	return map[string]any{"TrailARN": t.arn(), "EventSelectors": []any{map[string]any{
		"ReadWriteType": t.ReadWriteType, "IncludeManagementEvents": !t.NoManagement, "DataResources": resources,
		"ExcludeManagementEventSources": slices.Concat([]string{}, t.ExcludedSources),
	}}}
}

type listTagsInput struct {
	ResourceIdList []string //nolint:revive // AWS's name
	NextToken      string
}

func tagsOf(_ *wire.Request, in listTagsInput) string {
	if len(in.ResourceIdList) == 1 {
		return in.ResourceIdList[0]
	}
	return "*"
}

func (s *Service) listTags(tx *bolt.Tx, r *wire.Request, in listTagsInput) (any, error) {
	if in.NextToken != "" { // reserved, and no answer has one
		return nil, wire.Errf(http.StatusBadRequest, "InvalidTokenException", "The token is not valid.")
	}
	list := []any{}
	for _, arn := range in.ResourceIdList {
		if err := checkTagged(r, arn); err != nil {
			return nil, err
		}
		t, err := s.findTrail(tx, r, arn, false)
		if err != nil {
			return nil, err
		}
		list = append(list, map[string]any{"ResourceId": arn, "TagsList": slices.Concat([]trailTag{}, t.Tags)})
	}
	return map[string]any{"ResourceTagList": list}, nil
}

type changeTagsInput struct {
	ResourceId string
	TagsList   []trailTag
}

// checkTagged refuses what is not the ARN of a trail of the caller's account: a member of
// an organization does not see the tags of its trails.
func checkTagged(r *wire.Request, arn string) error {
	if !trailARN.MatchString(arn) {
		return wire.Errf(http.StatusBadRequest, "CloudTrailARNInvalidException", "%s is not the ARN of a trail.", arn)
	}
	if strings.Split(arn, ":")[4] != r.Who.Account {
		return wire.Errf(http.StatusBadRequest, "CloudTrailARNInvalidException", "AccountID in ARN is wrong, you can only access resources with AccountID %s.", r.Who.Account)
	}
	return nil
}

func tagged(_ *wire.Request, in changeTagsInput) string { return in.ResourceId }

// maxTags is how many tags a trail can have.
const maxTags = 50

// addTags adds tags, or changes their values.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AddTags.html
func (s *Service) addTags(tx *bolt.Tx, r *wire.Request, in changeTagsInput) (any, error) {
	return s.changeTags(tx, r, in, func(tags []trailTag, tag trailTag) []trailTag { return append(tags, tag) })
}

// removeTags removes the tags whose keys are in the list; a key that the trail
// does not have is no error.
func (s *Service) removeTags(tx *bolt.Tx, r *wire.Request, in changeTagsInput) (any, error) {
	return s.changeTags(tx, r, in, func(tags []trailTag, _ trailTag) []trailTag { return tags })
}

// changeTags takes each tag away, and lets put add it again.
func (s *Service) changeTags(tx *bolt.Tx, r *wire.Request, in changeTagsInput, put func([]trailTag, trailTag) []trailTag) (any, error) {
	if err := checkTagged(r, in.ResourceId); err != nil {
		return nil, err
	}
	t, err := s.findTrail(tx, r, in.ResourceId, true)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	tags := slices.Clone(t.Tags)
	for _, tag := range in.TagsList {
		if tag.Key == "" || len([]rune(tag.Key)) > 128 || len([]rune(tag.Value)) > 256 || seen[tag.Key] {
			return nil, wire.Errf(http.StatusBadRequest, "InvalidTagParameterException", "The tag key %q is invalid, its value is too long, or the list has it twice.", tag.Key)
		}
		seen[tag.Key] = true
		tags = put(slices.DeleteFunc(tags, func(other trailTag) bool { return other.Key == tag.Key }), tag)
	}
	if len(tags) > maxTags {
		return nil, wire.Errf(http.StatusBadRequest, "TagsLimitExceededException", "A trail can have %d tags at most.", maxTags)
	}
	t.Tags = tags
	return struct{}{}, store.Save(tx, TrailBucket, t.storeKey(), t)
}

var (
	trailARN  = regexp.MustCompile(`^arn:aws:cloudtrail:[a-z0-9-]+:\d{12}:trail/[A-Za-z0-9._-]{3,128}$`)
	trailName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// checkTrail refuses what is neither the name nor the ARN of a trail.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-trail-naming-requirements.html
func checkTrail(name string) error {
	invalid := func(message string, args ...any) error {
		return wire.Errf(http.StatusBadRequest, "InvalidTrailNameException", message, args...)
	}
	isAlphanumeric := func(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }
	switch {
	case strings.HasPrefix(name, "arn:"):
		if !trailARN.MatchString(name) {
			return wire.Errf(http.StatusBadRequest, "CloudTrailARNInvalidException", "%s is not the ARN of a trail.", name)
		}
	case len(name) < 3:
		return invalid("Trail name too short. Minimum allowed length: 3 characters. Specified name length: %d characters.", len(name))
	case len(name) > 128:
		return invalid("Trail name too long. Maximum allowed length: 128 characters. Specified name length: %d characters.", len(name))
	case !isAlphanumeric(name[0]):
		return invalid("Trail name must starts with a letter or number.")
	case !isAlphanumeric(name[len(name)-1]):
		return invalid("Trail name must ends with a letter or number.")
	case !trailName.MatchString(name):
		return invalid("Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens (-), and underscores (_).")
	}
	return nil
}
