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

// endpoints is an HTTP client that records where requests go. A setting names
// an endpoint in many ways (environment, profile, per service); the requests
// themselves cannot miss one.
type endpoints struct {
	next aws.HTTPClient

	mu   sync.Mutex
	seen map[endpoint]bool
}

type endpoint struct{ service, scheme, host string }

func recordEndpoints(next aws.HTTPClient) *endpoints {
	if next == nil {
		next = awshttp.NewBuildableClient()
	}
	return &endpoints{next: next, seen: map[endpoint]bool{}}
}

// Do implements [aws.HTTPClient].
func (e *endpoints) Do(req *http.Request) (*http.Response, error) {
	service := signedService(req.Header.Get("Authorization"))
	e.record(endpoint{service, req.URL.Scheme, req.URL.Host})
	resp, err := e.next.Do(req)
	if resp != nil && resp.Request != nil && resp.Request.URL != nil { // of the last redirect
		e.record(endpoint{service, resp.Request.URL.Scheme, resp.Request.URL.Host})
	}
	return resp, err
}

func (e *endpoints) record(x endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.seen[x] {
		e.seen[x] = true
	}
}

// list returns the endpoints, without a bucket's name in front of S3's.
func (e *endpoints) list(bucket string) []report.Endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := []report.Endpoint{}
	for x := range e.seen {
		host := x.host
		if x.service == "s3" && bucket != "" {
			host = strings.TrimPrefix(host, bucket+".")
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
	part := strings.Split(scope, "/")
	if len(part) < 2 || part[len(part)-1] != "aws4_request" {
		return ""
	}
	return part[len(part)-2]
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
