package check

import (
	"cmp"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// Endpoints is an HTTP client that records where requests go. Settings name an
// endpoint in many ways (environment, profile, per service); the requests
// themselves cannot miss one.
type Endpoints struct {
	next aws.HTTPClient

	mu   sync.Mutex
	seen map[endpoint]bool
}

type endpoint struct{ service, scheme, host string }

// RecordEndpoints returns a client that sends requests through next. The default
// of next is the SDK's own client.
func RecordEndpoints(next aws.HTTPClient) *Endpoints {
	if next == nil {
		next = awshttp.NewBuildableClient()
	}
	return &Endpoints{next: next, seen: map[endpoint]bool{}}
}

// Do implements [aws.HTTPClient].
func (e *Endpoints) Do(req *http.Request) (*http.Response, error) {
	service := signedService(req.Header.Get("Authorization"))
	e.record(endpoint{service, req.URL.Scheme, req.URL.Host})
	resp, err := e.next.Do(req)
	if resp != nil && resp.Request != nil && resp.Request.URL != nil { // of the last redirect
		e.record(endpoint{service, resp.Request.URL.Scheme, resp.Request.URL.Host})
	}
	return resp, err
}

func (e *Endpoints) record(x endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.seen[x] {
		e.seen[x] = true
	}
}

// Notice is the warning for a reader of what the endpoints returned: see
// [report.Report]. Empty means that all are AWS's own.
func (e *Endpoints) Notice(caBundle string) string {
	r := report.Report{Scope: report.Scope{Endpoints: e.list(), CABundle: caBundle}}
	r.Judge()
	return r.Notice
}

// list returns the endpoints, without the name of one of some buckets in front of
// S3's.
func (e *Endpoints) list(buckets ...string) []report.Endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := []report.Endpoint{}
	for x := range e.seen {
		host := x.host
		for _, bucket := range buckets {
			if x.service == "s3" && bucket != "" {
				host = strings.TrimPrefix(host, bucket+".")
			}
		}
		list = append(list, report.Endpoint{Service: cmp.Or(x.service, "unsigned"), URL: x.scheme + "://" + host, AWS: x.isAWS()})
	}
	slices.SortFunc(list, func(a, b report.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.URL, b.URL))
	})
	return slices.Compact(list)
}

// signedService is the service in the credential scope of a signature.
func signedService(authorization string) string {
	_, scope, _ := strings.Cut(authorization, "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	scope, ok := strings.CutSuffix(scope, "/aws4_request")
	if !ok {
		return ""
	}
	return scope[strings.LastIndexByte(scope, '/')+1:]
}

const (
	awsRegion = `[a-z]{2}(?:-[a-z]+)+-\d+`
	// awsDomains are the domains of the AWS partitions, from the SDK's
	// endpoint rules. Customers have names below them, too (load balancers,
	// API Gateway, instances), so the whole name is matched.
	awsDomains = `(?:amazonaws\.com(?:\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn|amazonaws\.eu|api\.amazonwebservices\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)`
)

var (
	awsHost  = regexp.MustCompile(`^([a-z0-9-]+?)(?:-fips)?(?:\.` + awsRegion + `)?\.` + awsDomains + `$`)
	awsVPCE  = regexp.MustCompile(`^vpce-[0-9a-z-]+\.([a-z0-9-]+)\.` + awsRegion + `\.vpce\.amazonaws\.com(?:\.cn)?$`)
	awsS3    = regexp.MustCompile(`^(?:.+\.)?s3(?:-control)?(?:-fips)?(?:\.dualstack)?(?:[.-]` + awsRegion + `)?\.` + awsDomains + `$`)
	awsS3VPC = regexp.MustCompile(`^(?:.+\.)?(?:bucket|control)\.vpce-[0-9a-z-]+\.s3\.` + awsRegion + `\.vpce\.amazonaws\.com(?:\.cn)?$`)
)

// isAWS reports whether x is AWS's own endpoint of the service, over TLS.
func (x endpoint) isAWS() bool {
	host := strings.TrimSuffix(strings.ToLower(x.host), ":443")
	if x.scheme != "https" {
		return false
	}
	if x.service == "s3" {
		return awsS3.MatchString(host) || awsS3VPC.MatchString(host)
	}
	for _, form := range []*regexp.Regexp{awsHost, awsVPCE} {
		if m := form.FindStringSubmatch(host); m != nil && m[1] == x.service {
			return true
		}
	}
	return false
}
