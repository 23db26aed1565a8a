package localaws

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// EC2, as far as EBS encryption needs it: the defaults (ec2_defaults.go), the
// volumes that obey them (ec2_volumes.go), their snapshots (ec2_snapshots.go) and
// the Regions (ec2_regions.go).

const ec2Namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"

type ec2Operation struct {
	readOnly bool
	handle   func(r *request, e *trailEvent) (any, error)
}

var ec2Operations = map[string]ec2Operation{
	"EnableEbsEncryptionByDefault":  {false, setEBSEncryption(true)},
	"DisableEbsEncryptionByDefault": {false, setEBSEncryption(false)},
	"GetEbsEncryptionByDefault":     {true, getEBSEncryption},
	"GetEbsDefaultKmsKeyId":         {true, getEBSDefaultKey},
	"ModifyEbsDefaultKmsKeyId":      {false, modifyEBSDefaultKey},
	"ResetEbsDefaultKmsKeyId":       {false, resetEBSDefaultKey},
	"CreateVolume":                  {false, createVolume},
	"DescribeVolumes":               {true, describeVolumes},
	"DeleteVolume":                  {false, deleteVolume},
	"CreateSnapshot":                {false, createSnapshot},
	"DescribeSnapshots":             {true, describeSnapshots},
	"DeleteSnapshot":                {false, deleteSnapshot},
	"CreateTags":                    {false, createTags},
	"DeleteTags":                    {false, deleteTags},
	"DescribeTags":                  {true, describeTags},
	"DescribeRegions":               {true, describeRegions},
	"DescribeAvailabilityZones":     {true, describeZones},
}

// serveEC2 answers for EC2. Every call of an operation it knows is recorded.
func serveEC2(r *request) {
	if !r.signed || !regionEnabled(r.region) {
		failEC2(r, errf(http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"))
		return
	}
	operation, ok := ec2Operations[r.operation]
	if !ok {
		failEC2(r, errNotImplemented(r.service, r.operation))
		return
	}
	event := trailEvent{r: r, eventSource: "ec2.amazonaws.com", eventName: r.operation, readOnly: operation.readOnly, request: ec2Parameters(r.form())}
	answer, err := ec2Run(r, operation, &event)
	if err != nil {
		a := asAPIError(err)
		side := "Client."
		if a.Status >= http.StatusInternalServerError {
			side = "Server."
		}
		event.errorCode, event.errorMessage, event.response = side+a.Code, a.Message, nil
	}
	if recordErr := r.s.record(event); recordErr != nil {
		err = recordErr
	}
	if err != nil {
		failEC2(r, asAPIError(err))
		return
	}
	answerEC2(r, answer)
}

func ec2Run(r *request, operation ec2Operation, e *trailEvent) (any, error) {
	if why := r.refusal("ec2:" + r.operation); why != "" {
		return nil, errf(http.StatusForbidden, "UnauthorizedOperation", "You are not authorized to perform this operation. %s", why)
	}
	dryRun, err := formBool(r.form(), "DryRun")
	if err != nil {
		return nil, err
	}
	if dryRun {
		return nil, errf(http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
	}
	return operation.handle(r, e)
}

// ec2Answer is the frame of every answer.
type ec2Answer struct {
	XMLName   xml.Name
	RequestID string `xml:"requestId"`
	Body      []byte `xml:",innerxml"`
}

// answerEC2 answers with the elements of body, a struct.
func answerEC2(r *request, body any) {
	var buf bytes.Buffer
	if err := xml.NewEncoder(&buf).EncodeElement(body, xml.StartElement{Name: xml.Name{Local: "body"}}); err != nil {
		failEC2(r, asAPIError(err))
		return
	}
	b := bytes.TrimSuffix(bytes.TrimPrefix(buf.Bytes(), []byte("<body>")), []byte("</body>"))
	answerXML(r, http.StatusOK, ec2Answer{xml.Name{Space: ec2Namespace, Local: r.operation + "Response"}, r.id, b})
}

// failEC2 answers with an error as EC2 writes it.
func failEC2(r *request, e *apiError) {
	type one struct{ Code, Message string }
	r.w.code = e.Code
	answerXML(r, e.Status, struct {
		XMLName   xml.Name `xml:"Response"`
		Error     one      `xml:"Errors>Error"`
		RequestID string
	}{Error: one{e.Code, e.Message}, RequestID: r.id})
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

// formNumbers answers with the member numbers of a list, in order, be its
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

// formInt reads a number; ok says whether it was given.
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

func invalidParameter(name, value, why string) *apiError {
	return errf(http.StatusBadRequest, "InvalidParameterValue", "Value (%s) for parameter %s is invalid. %s", value, lowerFirst(name), why)
}

func missingParameter(name string) *apiError {
	return errf(http.StatusBadRequest, "MissingParameter", "The request must contain the parameter %s", lowerFirst(name))
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

// match says whether something has what every filter asks for; get answers
// with its values under a filter's name, and nil for an unknown name.
func (fs ec2Filters) match(get func(name string) []string) (bool, error) {
	all := true
	for name, patterns := range fs {
		values := get(name)
		if values == nil {
			return false, errf(http.StatusBadRequest, "InvalidParameterValue", "The filter '%s' is invalid", name)
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

// ec2Parameters is the request as its record shows it: the EBS defaults under
// a name of their own, the older operations as they stand, lists as sets.
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
	if !strings.Contains(operation, "Ebs") {
		return parameters
	}
	if key, ok := parameters["kmsKeyId"]; ok {
		parameters = map[string]any{"KmsKeyId": key}
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
