package ec2

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/kms"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// volume is an EBS volume: no data, but the data key that would encrypt it.
type volume struct {
	ID         string            `json:"id"`
	Zone       string            `json:"zone"`
	Type       string            `json:"type"`
	Size       int               `json:"size"` // GiB
	IOPS       int               `json:"iops,omitempty"`
	Throughput int               `json:"throughput,omitempty"` // MiB/s
	KeyARN     string            `json:"keyArn,omitempty"`     // empty: not encrypted
	DataKey    []byte            `json:"dataKey,omitempty"`    // wrapped under the key
	Created    time.Time         `json:"created"`
	Tags       map[string]string `json:"tags,omitempty"`
	// Token and Request recognize a repeated CreateVolume.
	Token   string `json:"token,omitempty"`
	Request string `json:"request,omitempty"`
}

// volumeKind is a type of volumes.
type volumeKind struct {
	min, max         int // sizes in GiB
	iops             func(size int) int
	minIOPS, maxIOPS int // that may be, and where there is no default must be, given
	perGiB           int // the most of them
}

// Source: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html
var volumeTypes = map[string]volumeKind{
	"standard": {1, 1024, func(int) int { return 0 }, 0, 0, 0},
	"gp2":      {1, 16384, func(size int) int { return min(max(100, 3*size), 16000) }, 0, 0, 0},
	"gp3":      {1, 65536, func(int) int { return 3000 }, 3000, 80000, 500},
	"io1":      {4, 16384, func(int) int { return 0 }, 100, 64000, 50},
	"io2":      {4, 65536, func(int) int { return 0 }, 100, 256000, 1000},
	"st1":      {125, 16384, func(int) int { return 0 }, 0, 0, 0},
	"sc1":      {125, 16384, func(int) int { return 0 }, 0, 0, 0},
}

type ec2Tag struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type volumeAnswer struct {
	ID          string   `xml:"volumeId"`
	Size        int      `xml:"size"`
	SnapshotID  string   `xml:"snapshotId"`
	Zone        string   `xml:"availabilityZone"`
	ZoneID      string   `xml:"availabilityZoneId"`
	Status      string   `xml:"status"`
	Created     string   `xml:"createTime"`
	Attachments struct{} `xml:"attachmentSet"`
	Tags        []ec2Tag `xml:"tagSet>item,omitempty"`
	Type        string   `xml:"volumeType"`
	IOPS        int      `xml:"iops,omitempty"`
	Throughput  int      `xml:"throughput,omitempty"`
	Encrypted   bool     `xml:"encrypted"`
	KeyID       string   `xml:"kmsKeyId,omitempty"`
	MultiAttach bool     `xml:"multiAttachEnabled"`
}

func (v volume) answer(region, status string) volumeAnswer {
	return volumeAnswer{
		ID: v.ID, Size: v.Size, Zone: v.Zone, ZoneID: zoneID(region, slices.Index(zones(region), v.Zone)), Status: status,
		Created: v.Created.UTC().Format("2006-01-02T15:04:05.000Z"), Tags: sortedTags(v.Tags), Type: v.Type,
		IOPS: v.IOPS, Throughput: v.Throughput, Encrypted: v.KeyARN != "", KeyID: v.KeyARN,
	}
}

func sortedTags(tags map[string]string) []ec2Tag {
	var list []ec2Tag
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, ec2Tag{k, tags[k]})
	}
	return list
}

func volumeARN(c *call, id string) trail.Resource {
	return trail.Resource{ARN: "arn:aws:ec2:" + c.Region + ":" + c.Who.Account + ":volume/" + id, Type: "AWS::EC2::Volume"}
}

func (c *call) ec2Key(id string) string { return store.Key(c.Who.Account, c.Region, id) }

func createVolume(c *call) (any, error) {
	v, keyID, err := requestedVolume(c)
	if err != nil {
		return nil, err
	}
	// The SDKs repeat a call whose answer was lost, with the same token.
	if before, err := c.repeatedVolume(v); err != nil || before != nil {
		if err != nil {
			return nil, err
		}
		c.event.Resources = []trail.Resource{volumeARN(c, before.ID)}
		return before.answer(c.Region, "creating"), nil
	}
	if keyID != "" {
		arn, err := c.usableEBSKey(keyID)
		if err != nil {
			return nil, err
		}
		key, apiErr := c.s.keys.GenerateDataKey(kms.Use{
			Request: c.Request, Region: c.Region, Via: "ec2", Context: map[string]string{"aws:ebs:id": v.ID},
		}, arn)
		if apiErr != nil {
			return nil, errInvalidKMSKey(apiErr.Message)
		}
		clear(key.Plaintext) // nothing is written to the volume
		v.KeyARN, v.DataKey = key.KeyARN, key.Ciphertext
	}
	c.event.Resources = []trail.Resource{volumeARN(c, v.ID)}
	c.event.Response = map[string]any{
		"requestId": c.ID, "volumeId": v.ID, "size": strconv.Itoa(v.Size), "zone": v.Zone, "status": "creating",
		"createTime": v.Created.UnixMilli(), "volumeType": v.Type, "iops": v.IOPS, "encrypted": v.KeyARN != "",
	}
	if err := c.commit(func(tx *bolt.Tx) error { return store.Save(tx, VolumeBucket, c.ec2Key(v.ID), v) }); err != nil {
		return nil, err
	}
	return v.answer(c.Region, "creating"), nil
}

// requestedVolume reads a CreateVolume request: the volume, and the key to encrypt it
// under.
func requestedVolume(c *call) (v volume, keyID string, err error) {
	if v, err = newVolume(c, c.Form()); err == nil {
		keyID, err = volumeKMSKey(c, c.Form())
	}
	return v, keyID, err
}

// newVolume reads a CreateVolume request, apart from encryption.
func newVolume(c *call, f url.Values) (volume, error) {
	v := volume{ID: newEC2ID("vol-"), Zone: f.Get("AvailabilityZone"), Type: f.Get("VolumeType"), Created: c.Now, Token: f.Get("ClientToken"), Request: f.Encode()}
	if f.Get("SnapshotId") != "" {
		return v, wire.NotImplemented("ec2", "CreateVolume from a snapshot")
	}
	if v.Zone == "" {
		return v, missingParameter("AvailabilityZone")
	}
	if !slices.Contains(zones(c.Region), v.Zone) {
		return v, wire.Errf(http.StatusBadRequest, "InvalidZone.NotFound", "The zone '%s' does not exist.", v.Zone)
	}
	if v.Type == "" {
		v.Type = "gp2"
	}
	kind, ok := volumeTypes[v.Type]
	if !ok {
		return v, wire.Errf(http.StatusBadRequest, "UnknownVolumeType", "Unsupported volume type '%s' for volume creation.", v.Type)
	}
	var given bool
	var err error
	if v.Size, given, err = formInt(f, "Size"); err != nil {
		return v, err
	} else if !given {
		return v, wire.Errf(http.StatusBadRequest, "MissingParameter", "The request must contain the parameter size/snapshot")
	}
	if err := v.checkSize(kind); err != nil {
		return v, err
	}
	if v.IOPS, given, err = formInt(f, "Iops"); err != nil {
		return v, err
	}
	if !given {
		v.IOPS = kind.iops(v.Size)
	}
	if err := v.checkIOPS(kind, given); err != nil {
		return v, err
	}
	if v.Throughput, given, err = formInt(f, "Throughput"); err != nil {
		return v, err
	}
	switch {
	case given && v.Type != "gp3":
		return v, wire.Errf(http.StatusBadRequest, "InvalidParameterCombination", "The parameter throughput is not supported for %s volumes.", v.Type)
	case given && (v.Throughput < 125 || v.Throughput > 2000):
		return v, invalidParameter("Throughput", strconv.Itoa(v.Throughput), "It is from 125 to 2000 MiB/s.")
	case given && v.Throughput*4 > v.IOPS:
		return v, invalidVolume("InvalidParameterValue", "Throughput (MiBps) to iops ratio of %f is too high; maximum is 0.250000 MiBps per iops.", float64(v.Throughput)/float64(v.IOPS))
	case !given && v.Type == "gp3":
		v.Throughput = 125
	}
	v.Tags, err = tagsOf(f, "volume")
	return v, err
}

// The errors of sizes and IOPS are those that users have reported of EC2, but for the
// sizes that are too large, and the IOPS that are too few:
// https://github.com/kubernetes-sigs/aws-ebs-csi-driver/issues/766,
// https://github.com/kubernetes-retired/kube-aws/issues/1208,
// https://github.com/rocicorp/mono/pull/4410, and the limits that the EBS CSI driver
// reads out of them (pkg/cloud/cloud.go).

func invalidVolume(code, format string, args ...any) *wire.Error {
	return wire.Errf(http.StatusBadRequest, code, format, args...)
}

// errLargeIO2 is about the size, the IOPS and their ratio.
func errLargeIO2() *wire.Error {
	return invalidVolume("InvalidParameterCombination", "io2 volumes configured with greater than 64 TiB or 256K IOPS or 1000:1 IOPS:GB ratio are not supported")
}

func (v volume) checkSize(kind volumeKind) error {
	switch {
	case v.Size < kind.min:
		return invalidVolume("InvalidParameterValue", "The volume size is invalid for %[1]s volumes: %[2]d GiB. %[1]s volumes must be at least %[3]d GiB in size. Please specify a volume size above the minimum limit", v.Type, v.Size, kind.min)
	case v.Size <= kind.max:
		return nil
	case v.Type == "io2":
		return errLargeIO2()
	}
	return invalidVolume("InvalidParameterValue", "Volume of %dGiB is not allowed for volume type %s; it is from %d to %d GiB.", v.Size, v.Type, kind.min, kind.max)
}

// checkIOPS refuses also 0, where it is given for a type that has no choice.
func (v volume) checkIOPS(kind volumeKind, given bool) error {
	large := v.IOPS > max(kind.minIOPS, kind.perGiB*v.Size) // the least of them needs no size
	switch {
	case !given && kind.maxIOPS > 0 && v.IOPS == 0:
		return invalidVolume("InvalidParameterCombination", "The parameter iops must be specified for %s volumes.", v.Type)
	case !given:
		return nil
	case kind.maxIOPS == 0:
		return invalidVolume("InvalidParameterCombination", "The parameter iops is not supported for %s volumes.", v.Type)
	case v.IOPS < kind.minIOPS:
		return invalidVolume("InvalidParameterValue", "Volume iops of %d is too low; minimum is %d.", v.IOPS, kind.minIOPS)
	case v.Type == "io2" && (large || v.IOPS > kind.maxIOPS):
		return errLargeIO2()
	case v.IOPS > kind.maxIOPS:
		return invalidVolume("InvalidParameterValue", "Volume iops of %d is too high; maximum is %d", v.IOPS, kind.maxIOPS)
	case large:
		return invalidVolume("InvalidParameterValue", "Iops to volume size ratio of %f is too high; maximum is %d", float64(v.IOPS)/float64(v.Size), kind.perGiB)
	}
	return nil
}

// tagsOf reads the tags that a request gives to what it creates, of this kind.
func tagsOf(f url.Values, kind string) (tags map[string]string, err error) {
	for _, n := range formNumbers(f, "TagSpecification") {
		spec := "TagSpecification." + n
		if k := f.Get(spec + ".ResourceType"); k != kind {
			return nil, invalidParameter("ResourceType", k, "Only a "+kind+" is created.")
		}
		if tags, err = withTags(tags, f, spec+".Tag"); err != nil {
			return nil, err
		}
	}
	return tags, nil
}

// volumeKMSKey says under which key a new volume is encrypted: the one named,
// else the Region's default, where the request or the Region's switch asks for
// encryption. It is empty where neither does. Encrypted=false does not switch
// off what the Region demands.
func volumeKMSKey(c *call, f url.Values) (string, error) {
	encrypted, err := formBool(f, "Encrypted")
	if err != nil {
		return "", err
	}
	if key := f.Get("KmsKeyId"); key != "" {
		if !encrypted {
			return "", wire.Errf(http.StatusBadRequest, "InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
		}
		return key, nil
	}
	d, err := c.s.loadEBSDefaults(c.Who.Account, c.Region)
	if err != nil || !encrypted && !d.Encrypt {
		return "", err
	}
	return d.key(), nil
}

// usableEBSKey is [call.ebsKey] in a transaction of its own.
func (c *call) usableEBSKey(keyID string) (arn string, err error) {
	err = c.s.db.Update(func(tx *bolt.Tx) error { // the AWS managed key is made on first use
		arn, err = c.ebsKey(tx, keyID)
		return err
	})
	return arn, err
}

// repeatedVolume returns the volume that an earlier call with the same
// client token made, or nil.
func (c *call) repeatedVolume(v volume) (before *volume, err error) {
	if v.Token == "" {
		return nil, nil
	}
	err = c.s.db.View(func(tx *bolt.Tx) error {
		return store.Each(tx, VolumeBucket, c.ec2Key(""), func(_ string, old volume) error {
			if old.Token == v.Token {
				before = &old
			}
			return nil
		})
	})
	if before != nil && before.Request != v.Request {
		return nil, wire.Errf(http.StatusBadRequest, "IdempotentParameterMismatch", "The client token was used before, with other parameters.")
	}
	return before, err
}

func newEC2ID(prefix string) string {
	b := make([]byte, 9)
	_, _ = rand.Read(b) // never fails: see crypto/rand.Read
	return prefix + hex.EncodeToString(b)[:17]
}

var volumeID = regexp.MustCompile(`^vol-([0-9a-f]{8}|[0-9a-f]{17})$`)

// loadVolume refuses an id that is no volume's.
func (c *call) loadVolume(tx *bolt.Tx, id string) (volume, error) {
	if !volumeID.MatchString(id) {
		return volume{}, invalidParameter("VolumeId", id, "Expected: 'vol-...'.")
	}
	v, ok, err := store.Load[volume](tx, VolumeBucket, c.ec2Key(id))
	if err == nil && !ok {
		err = wire.Errf(http.StatusBadRequest, "InvalidVolume.NotFound", "The volume '%s' does not exist.", id)
	}
	return v, err
}

// filter returns a volume's values under a filter's name: none for what no
// volume here has.
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html
func (v volume) filter(name string) []string {
	switch name {
	case "attachment.attach-time", "attachment.delete-on-termination", "attachment.device", "attachment.instance-id",
		"attachment.status", "operator.principal", "snapshot-id":
		return []string{}
	case "fast-restored", "multi-attach-enabled", "operator.managed":
		return []string{"false"}
	case "create-time":
		return []string{v.Created.UTC().Format("2006-01-02T15:04:05.000Z")}
	case "volume-id":
		return []string{v.ID}
	case "encrypted":
		return []string{strconv.FormatBool(v.KeyARN != "")}
	case "availability-zone":
		return []string{v.Zone}
	case "availability-zone-id":
		region, letter := cutZone(v.Zone)
		return []string{zoneID(region, letter)}
	case "status":
		return []string{"available"}
	case "size":
		return []string{strconv.Itoa(v.Size)}
	case "volume-type":
		return []string{v.Type}
	}
	return tagFilter(v.Tags, name)
}

func describeVolumes(c *call) (any, error) {
	f := c.Form()
	ids, filters := formList(f, "VolumeId"), formFilters(f)
	if _, err := filters.match(volume{}.filter); err != nil {
		return nil, err
	}
	size, after, err := ec2Page(f, volumeID, "volumeSet", len(ids) > 0)
	if err != nil {
		return nil, err
	}
	var found []volume
	err = c.s.db.View(func(tx *bolt.Tx) error {
		for _, id := range ids {
			if _, err := c.loadVolume(tx, id); err != nil {
				return err
			}
		}
		return store.Each(tx, VolumeBucket, c.ec2Key(""), func(_ string, v volume) error {
			ok, err := filters.match(v.filter)
			if ok && v.ID > after && (len(ids) == 0 || slices.Contains(ids, v.ID)) {
				found = append(found, v)
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	var out struct {
		Volumes   []volumeAnswer `xml:"volumeSet>item"`
		NextToken string         `xml:"nextToken,omitempty"`
	}
	found, out.NextToken = ec2PageOf(found, size, func(v volume) string { return v.ID })
	for _, v := range found {
		out.Volumes = append(out.Volumes, v.answer(c.Region, "available"))
	}
	return out, nil
}

// ec2Page reads the size of a page, 0 for all, and the id after which it
// begins, one that has the pattern id; set is what AWS calls a list of ids,
// which excludes pages where named.
func ec2Page(f url.Values, id *regexp.Regexp, set string, named bool) (size int, after string, err error) {
	size, given, err := formInt(f, "MaxResults")
	if err != nil {
		return 0, "", err
	}
	if given {
		if named {
			return 0, "", wire.Errf(http.StatusBadRequest, "InvalidParameterCombination", "The parameter %s cannot be used with the parameter maxResults", set)
		}
		if size < 5 {
			return 0, "", invalidParameter("MaxResults", strconv.Itoa(size), "Expecting a value greater than 5.")
		}
		size = min(size, 1000)
	}
	token, err := base64.StdEncoding.DecodeString(f.Get("NextToken"))
	if err != nil || len(token) > 0 && !id.Match(token) {
		return 0, "", wire.Errf(http.StatusBadRequest, "InvalidParameterValue", "Unable to parse pagination token")
	}
	return size, string(token), nil
}

// ec2PageOf is the first page of found, sorted by id, and the token of the next.
func ec2PageOf[T any](found []T, size int, id func(T) string) (page []T, next string) {
	if size == 0 || len(found) <= size {
		return found, ""
	}
	return found[:size], base64.StdEncoding.EncodeToString([]byte(id(found[size-1])))
}

func deleteVolume(c *call) (any, error) {
	id := c.Form().Get("VolumeId")
	if id == "" {
		return nil, missingParameter("VolumeId")
	}
	c.event.Resources = []trail.Resource{volumeARN(c, id)}
	c.event.Response = map[string]any{"requestId": c.ID, "_return": true}
	err := c.commit(func(tx *bolt.Tx) error {
		if _, err := c.loadVolume(tx, id); err != nil {
			return err
		}
		return store.Remove(tx, VolumeBucket, c.ec2Key(id))
	})
	return ec2Success{true}, err
}

const maxTags = 50

// withTags adds the tags of a list in the request to tags.
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html
func withTags(tags map[string]string, f url.Values, list string) (map[string]string, error) {
	tags = maps.Clone(tags)
	if tags == nil {
		tags = map[string]string{}
	}
	seen := map[string]bool{}
	for _, n := range formNumbers(f, list) {
		key, value := f.Get(list+"."+n+".Key"), f.Get(list+"."+n+".Value")
		if seen[key] {
			return nil, wire.Errf(http.StatusBadRequest, "InvalidParameterValue", "Duplicate tag key '%s' specified.", key)
		}
		seen[key] = true
		if key == "" || len([]rune(key)) > 127 || strings.HasPrefix(strings.ToLower(key), "aws:") {
			return nil, wire.Errf(http.StatusBadRequest, "InvalidParameterValue", "Tag key '%s' is not valid: it has 1 to 127 characters and does not begin with aws:", key)
		}
		if len([]rune(value)) > 255 {
			return nil, wire.Errf(http.StatusBadRequest, "InvalidParameterValue", "Tag value of '%s' exceeds the maximum length of 255 characters", key)
		}
		tags[key] = value
	}
	if len(tags) > maxTags {
		return nil, wire.Errf(http.StatusBadRequest, "TagLimitExceeded", "The maximum number of tags is %d.", maxTags)
	}
	return tags, nil
}

func createTags(c *call) (any, error) {
	if len(formNumbers(c.Form(), "Tag")) == 0 {
		return nil, missingParameter("Tag")
	}
	return changeTags(c, func(tags map[string]string) (map[string]string, error) { return withTags(tags, c.Form(), "Tag") })
}

// deleteTags removes the tags that are named, with the value if one is given;
// all if none is named.
func deleteTags(c *call) (any, error) {
	f := c.Form()
	return changeTags(c, func(tags map[string]string) (map[string]string, error) {
		numbers := formNumbers(f, "Tag")
		if len(numbers) == 0 {
			return nil, nil
		}
		for _, n := range numbers {
			key, member := f.Get("Tag."+n+".Key"), "Tag."+n+".Value"
			if key == "" {
				return nil, missingParameter("Tag." + n + ".Key")
			}
			if !f.Has(member) || tags[key] == f.Get(member) {
				delete(tags, key)
			}
		}
		return tags, nil
	})
}

// changeTags lets change alter the tags of each volume and snapshot that is
// named, all or none.
func changeTags(c *call, change func(tags map[string]string) (map[string]string, error)) (any, error) {
	ids := formList(c.Form(), "ResourceId")
	if len(ids) == 0 {
		return nil, missingParameter("ResourceId")
	}
	for _, id := range ids {
		resource := volumeARN(c, id)
		if strings.HasPrefix(id, "snap-") {
			resource = c.snapshotRecord(id)
		}
		c.event.Resources = append(c.event.Resources, resource)
	}
	c.event.Response = map[string]any{"requestId": c.ID, "_return": true}
	err := c.commit(func(tx *bolt.Tx) error {
		for _, id := range ids {
			if err := c.changeTagsOf(tx, id, change); err != nil {
				return err
			}
		}
		return nil
	})
	return ec2Success{true}, err
}

func (c *call) changeTagsOf(tx *bolt.Tx, id string, change func(tags map[string]string) (map[string]string, error)) error {
	if strings.HasPrefix(id, "snap-") {
		s, err := c.loadSnapshot(tx, id)
		if err != nil {
			return err
		}
		if s.Tags, err = change(s.Tags); err != nil {
			return err
		}
		return store.Save(tx, SnapshotBucket, c.ec2Key(id), s)
	}
	v, err := c.loadVolume(tx, id)
	if err != nil {
		return err
	}
	if v.Tags, err = change(v.Tags); err != nil {
		return err
	}
	return store.Save(tx, VolumeBucket, c.ec2Key(id), v)
}

type tagAnswer struct {
	ResourceID   string `xml:"resourceId"`
	ResourceType string `xml:"resourceType"`
	ec2Tag
}

func describeTags(c *call) (any, error) {
	filters := formFilters(c.Form())
	if _, err := filters.match(tagAnswer{}.filter); err != nil {
		return nil, err
	}
	var out struct {
		Tags []tagAnswer `xml:"tagSet>item"`
	}
	add := func(id, kind string, tags map[string]string) error {
		for _, tag := range sortedTags(tags) {
			t := tagAnswer{id, kind, tag}
			if ok, err := filters.match(t.filter); err != nil {
				return err
			} else if ok {
				out.Tags = append(out.Tags, t)
			}
		}
		return nil
	}
	err := c.s.db.View(func(tx *bolt.Tx) error {
		err := store.Each(tx, VolumeBucket, c.ec2Key(""), func(_ string, v volume) error { return add(v.ID, "volume", v.Tags) })
		if err != nil {
			return err
		}
		return store.Each(tx, SnapshotBucket, c.ec2Key(""), func(_ string, s ebsSnapshot) error { return add(s.ID, "snapshot", s.Tags) })
	})
	return out, err
}

func (t tagAnswer) filter(name string) []string {
	switch name {
	case "resource-id":
		return []string{t.ResourceID}
	case "resource-type":
		return []string{t.ResourceType}
	case "key":
		return []string{t.Key}
	case "value":
		return []string{t.Value}
	}
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		if key == t.Key {
			return []string{t.Value}
		}
		return []string{}
	}
	return nil
}
