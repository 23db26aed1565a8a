// Package ec2 is EC2 as far as EBS encryption needs it: the defaults
// (defaults.go), the volumes that obey them (volumes.go), their snapshots
// (snapshots.go) and the Regions (regions.go).
package ec2

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/kms"
	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// The buckets of EC2.
var (
	DefaultsBucket = []byte("ebs-defaults")  // account/region
	VolumeBucket   = []byte("ebs-volumes")   // account/region/volume-id
	SnapshotBucket = []byte("ebs-snapshots") // account/region/snapshot-id
)

// Keys is what EC2 needs of KMS.
type Keys interface {
	ResolveKey(tx *bolt.Tx, account, region, keyID string) (arn, state string, err *wire.Error)
	GenerateDataKey(u kms.Use, keyID string) (kms.DataKey, *wire.Error)
}

// Service serves EC2.
type Service struct {
	db         *bolt.DB
	identities *policy.Identities
	trail      *trail.Service
	keys       Keys
}

// New makes the service.
func New(db *bolt.DB, identities *policy.Identities, events *trail.Service, keys Keys) *Service {
	return &Service{db: db, identities: identities, trail: events, keys: keys}
}

const (
	apiVersion   = "2016-11-15" // others mean other things by the same requests
	ec2Namespace = "http://ec2.amazonaws.com/doc/" + apiVersion + "/"
)

// call is one call to EC2 while it is executed.
type call struct {
	*wire.Request
	s        *Service
	event    trail.Event
	recorded bool // the event, with the change of the state
}

// operation is one operation and the parameters that it models, beside Action,
// Version and DryRun.
type operation struct {
	readOnly   bool
	handle     func(c *call) (any, error)
	parameters []string
}

var (
	filterParameters = []string{"Filter.#.Name", "Filter.#.Value.#"}
	pageParameters   = []string{"MaxResults", "NextToken"}
	tagParameters    = []string{"TagSpecification.#.ResourceType", "TagSpecification.#.Tag.#.Key", "TagSpecification.#.Tag.#.Value"}
)

var operations = map[string]operation{
	"EnableEbsEncryptionByDefault":  {false, setEBSEncryption(true), nil},
	"DisableEbsEncryptionByDefault": {false, setEBSEncryption(false), nil},
	"GetEbsEncryptionByDefault":     {true, getEBSEncryption, nil},
	"GetEbsDefaultKmsKeyId":         {true, getEBSDefaultKey, nil},
	"ModifyEbsDefaultKmsKeyId":      {false, modifyEBSDefaultKey, []string{"KmsKeyId"}},
	"ResetEbsDefaultKmsKeyId":       {false, resetEBSDefaultKey, nil},
	"CreateVolume": {false, createVolume, slices.Concat(tagParameters, []string{
		"AvailabilityZone", "VolumeType", "Size", "Iops", "Throughput", "Encrypted", "KmsKeyId", "ClientToken",
	})},
	"DescribeVolumes":                   {true, describeVolumes, slices.Concat(filterParameters, pageParameters, []string{"VolumeId.#"})},
	"DeleteVolume":                      {false, deleteVolume, []string{"VolumeId"}},
	"CreateSnapshot":                    {false, createSnapshot, slices.Concat(tagParameters, []string{"VolumeId", "Description"})},
	"DescribeSnapshots":                 {true, describeSnapshots, slices.Concat(filterParameters, pageParameters, []string{"SnapshotId.#", "Owner.#"})},
	"DeleteSnapshot":                    {false, deleteSnapshot, []string{"SnapshotId"}},
	"CreateTags":                        {false, createTags, []string{"ResourceId.#", "Tag.#.Key", "Tag.#.Value"}},
	"DeleteTags":                        {false, deleteTags, []string{"ResourceId.#", "Tag.#.Key", "Tag.#.Value"}},
	"DescribeTags":                      {true, describeTags, filterParameters},
	"GetSnapshotBlockPublicAccessState": {true, getSnapshotSharing, nil},
	"EnableSnapshotBlockPublicAccess":   {false, enableSnapshotSharingBlock, []string{"State"}},
	"DisableSnapshotBlockPublicAccess":  {false, disableSnapshotSharingBlock, nil},
	"DescribeRegions":                   {true, describeRegions, slices.Concat(filterParameters, []string{"RegionName.#", "AllRegions"})},
	"DescribeAvailabilityZones":         {true, describeZones, slices.Concat(filterParameters, []string{"ZoneName.#", "ZoneId.#"})},
}

// Operation implements [wire.Service].
func (*Service) Operation(r *wire.Request) string { return wire.FormOperation(r) }

// Serve implements [wire.Service]. Every call of an operation that it knows is
// recorded.
func (s *Service) Serve(r *wire.Request) {
	if !r.Signed || !wire.RegionEnabled(r.Region) {
		s.Fail(r, wire.Errf(http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"))
		return
	}
	op, ok := operations[r.Operation]
	if !ok {
		s.Fail(r, wire.NotImplemented(r.Service, r.Operation))
		return
	}
	if name := wire.UnknownParameter(r.Form(), slices.Concat(op.parameters, []string{"Action", "Version", "DryRun"})...); name != "" {
		s.Fail(r, wire.NotImplemented(r.Service, "the parameter "+name+" of "+r.Operation))
		return
	}
	if v := r.Form().Get("Version"); v != apiVersion {
		s.Fail(r, wire.NotImplemented(r.Service, "the API version "+v))
		return
	}
	c := &call{Request: r, s: s, event: trail.Event{Request: r, Source: "ec2.amazonaws.com", Name: r.Operation, ReadOnly: op.readOnly, Parameters: ec2Parameters(r.Form())}}
	answer, err := c.run(op)
	if err != nil {
		a := wire.AsError(err)
		side := "Client."
		if a.Status >= http.StatusInternalServerError {
			side = "Server."
		}
		c.event.ErrorCode, c.event.ErrorMessage, c.event.Response = side+a.Code, a.Message, nil
	}
	if !c.recorded || err != nil {
		if recordErr := s.trail.Record(c.event); recordErr != nil {
			err = recordErr
		}
	}
	if err != nil {
		s.Fail(r, wire.AsError(err))
		return
	}
	s.answer(r, answer)
}

func (c *call) run(op operation) (any, error) {
	if why := c.s.identities.Refusal(c.Request, "ec2:"+c.Operation); why != "" {
		return nil, wire.Errf(http.StatusForbidden, "UnauthorizedOperation", "You are not authorized to perform this operation. %s", why)
	}
	dryRun, err := formBool(c.Form(), "DryRun")
	if err != nil {
		return nil, err
	}
	if dryRun && c.Operation == "CreateVolume" { // looks at the parameters first: kube-aws issue 1208
		if _, _, err := requestedVolume(c); err != nil {
			return nil, err
		}
	}
	if dryRun {
		return nil, wire.Errf(http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
	}
	return op.handle(c)
}

// commit changes the state and records the event, both or neither.
func (c *call) commit(f func(tx *bolt.Tx) error) error {
	err := c.s.db.Update(func(tx *bolt.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return c.s.trail.RecordIn(tx, c.event)
	})
	c.recorded = err == nil
	return err
}

// ec2Answer is the frame of every answer.
type ec2Answer struct {
	XMLName   xml.Name
	RequestID string `xml:"requestId"`
	Body      []byte `xml:",innerxml"`
}

// answer writes the elements of body, a struct.
func (s *Service) answer(r *wire.Request, body any) {
	var buf bytes.Buffer
	if err := xml.NewEncoder(&buf).EncodeElement(body, xml.StartElement{Name: xml.Name{Local: "body"}}); err != nil {
		s.Fail(r, wire.AsError(err))
		return
	}
	b := bytes.TrimSuffix(bytes.TrimPrefix(buf.Bytes(), []byte("<body>")), []byte("</body>"))
	wire.AnswerXML(r, http.StatusOK, ec2Answer{xml.Name{Space: ec2Namespace, Local: r.Operation + "Response"}, r.ID, b})
}

// Fail implements [wire.Service].
func (*Service) Fail(r *wire.Request, e *wire.Error) {
	type one struct{ Code, Message string }
	r.W.Code = e.Code
	wire.AnswerXML(r, e.Status, struct {
		XMLName   xml.Name `xml:"Response"`
		Error     one      `xml:"Errors>Error"`
		RequestID string
	}{Error: one{e.Code, e.Message}, RequestID: r.ID})
}

// ec2Success is the answer of operations that have nothing to tell.
type ec2Success struct {
	Return bool `xml:"return"`
}

// formList reads a list: NAME.1, NAME.2 and so on.
func formList(f url.Values, name string) []string {
	var list []string
	for _, n := range formNumbers(f, name) {
		list = append(list, f.Get(name+"."+n))
	}
	return list
}

var memberNumber = regexp.MustCompile(`^[0-9]{1,4}$`)

// formNumbers returns the member numbers of a list, in order, be its
// members plain (NAME.1) or structures (NAME.1.Key).
func formNumbers(f url.Values, name string) []string {
	var numbers []string
	for k := range f {
		rest, ok := strings.CutPrefix(k, name+".")
		n, _, _ := strings.Cut(rest, ".")
		if ok && memberNumber.MatchString(n) && !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	slices.SortFunc(numbers, func(a, b string) int {
		x, _ := strconv.Atoi(a) // both are digits: see memberNumber
		y, _ := strconv.Atoi(b)
		return x - y
	})
	return numbers
}

func formBool(f url.Values, name string) (bool, error) {
	v := f.Get(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, invalidParameter(name, v, "Invalid boolean value")
	}
	return b, nil
}

// formInt reads a number; ok reports whether it was given.
func formInt(f url.Values, name string) (n int, ok bool, err error) {
	v := f.Get(name)
	if v == "" {
		return 0, false, nil
	}
	n, err = strconv.Atoi(v)
	if err != nil {
		return 0, false, invalidParameter(name, v, "Invalid integer value")
	}
	return n, true, nil
}

func invalidParameter(name, value, why string) *wire.Error {
	return wire.Errf(http.StatusBadRequest, "InvalidParameterValue", "Value (%s) for parameter %s is invalid. %s", value, lowerFirst(name), why)
}

func missingParameter(name string) *wire.Error {
	return wire.Errf(http.StatusBadRequest, "MissingParameter", "The request must contain the parameter %s", lowerFirst(name))
}

// lowerFirst writes a parameter's name as errors and records do.
func lowerFirst(name string) string {
	if name == "" {
		return ""
	}
	return strings.ToLower(name[:1]) + name[1:]
}

// ec2Filters are a request's filters: the values of each name, of which one
// must match.
type ec2Filters map[string][]string

func formFilters(f url.Values) ec2Filters {
	filters := ec2Filters{}
	for _, n := range formNumbers(f, "Filter") {
		name := f.Get("Filter." + n + ".Name")
		filters[name] = append(filters[name], formList(f, "Filter."+n+".Value")...)
	}
	return filters
}

// match reports whether something matches every filter; get answers
// with its values under a filter's name, and nil for an unknown name.
func (fs ec2Filters) match(get func(name string) []string) (bool, error) {
	all := true
	for name, patterns := range fs {
		values := get(name)
		if values == nil {
			return false, wire.Errf(http.StatusBadRequest, "InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		if len(patterns) == 0 {
			return false, wire.NotImplemented("ec2", "a filter without a value: "+name)
		}
		all = all && slices.ContainsFunc(patterns, func(p string) bool {
			return slices.ContainsFunc(values, filterPattern(p).MatchString)
		})
	}
	return all, nil
}

// filterPattern reads a filter's value: * is any text, ? any one character.
func filterPattern(p string) *regexp.Regexp {
	p = regexp.QuoteMeta(p)
	p = strings.ReplaceAll(strings.ReplaceAll(p, `\*`, `(?s:.*)`), `\?`, `(?s:.)`)
	return regexp.MustCompile("^(?:" + p + ")$") // every quoted text compiles
}

// ec2Parameters is the request as its record shows it: the account's settings
// under a name of their own, the older operations as they stand, lists as sets.
func ec2Parameters(f url.Values) any {
	parameters := map[string]any{}
	for k := range f {
		name, _, list := strings.Cut(k, ".")
		switch {
		case name == "Action" || name == "Version" || name == "DryRun":
		case list:
			parameters[lowerFirst(name)+"Set"] = map[string]any{"items": formItems(f, name)}
		default:
			parameters[lowerFirst(name)] = f.Get(k)
		}
	}
	operation := f.Get("Action")
	if !strings.Contains(operation, "Ebs") && !strings.Contains(operation, "BlockPublicAccess") {
		return parameters
	}
	for lower, name := range map[string]string{"kmsKeyId": "KmsKeyId", "state": "State"} {
		if v, ok := parameters[lower]; ok {
			parameters = map[string]any{name: v}
		}
	}
	return map[string]any{operation + "Request": parameters}
}

func formItems(f url.Values, list string) []map[string]string {
	items := []map[string]string{}
	for _, n := range formNumbers(f, list) {
		item, prefix := map[string]string{}, list+"."+n
		for k := range f {
			if k == prefix {
				item[lowerFirst(list)] = f.Get(k)
			} else if member, ok := strings.CutPrefix(k, prefix+"."); ok {
				item[lowerFirst(member)] = f.Get(k)
			}
		}
		items = append(items, item)
	}
	return items
}
