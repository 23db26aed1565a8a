package report

import (
	"fmt"
	"regexp"
	"strings"
)

// Redact returns a copy of r without AWS account IDs, for readers outside the
// organization. Every account ID becomes account-1, account-2 and so on, the
// report's own account first, in ARNs, bucket names, callers and details. Access
// key IDs, from which the account can be computed, become access-key-1, and the
// unique IDs of roles and users principal-1. Names, Regions and key IDs stay.
func Redact(r *Report) *Report {
	m := masks{names: map[string]string{}}
	if accountNumber.MatchString(r.Subject.Account) {
		m.account(r.Subject.Account)
	}
	return redact(r, m)
}

// redact masks all accounts in r, beside those that m has already.
func redact[T any](r *T, m masks) *T {
	mapStrings(r, func(s string) string {
		for _, arn := range arnAccount.FindAllStringSubmatch(s, -1) {
			m.account(arn[1])
		}
		return s
	})
	mapStrings(r, m.apply) // to know every account before the names that contain one
	return mapStrings(r, m.apply)
}

var (
	accountNumber = regexp.MustCompile(`^[0-9]{12}$`)
	arnAccount    = regexp.MustCompile(`\barn:[a-z-]+:[a-z0-9-]*:[a-z0-9-]*:([0-9]{12}):`)
	// identifying finds what may name an account. UUIDs come first: the last
	// group of one is 12 digits now and then, and is masked only if it is an
	// account that the report names elsewhere. The
	// prefixes are those of the IAM user guide's "Understanding unique ID
	// prefixes".
	identifying = regexp.MustCompile(`(?i:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})` +
		`|[0-9]{4}-[0-9]{4}-[0-9]{4}|[0-9]+` +
		`|(?:ABIA|ACCA|AKIA|ASIA|AGPA|AIDA|AIPA|ANPA|ANVA|APKA|AROA|ASCA)[A-Z0-9]{12,124}`)
)

// masks maps what was masked to its mask.
type masks struct {
	names                          map[string]string
	accounts                       []string
	accountN, accessN, principalsN int
}

func (m *masks) account(number string) string {
	if m.names[number] == "" {
		m.accountN++
		m.names[number] = fmt.Sprintf("account-%d", m.accountN)
		m.accounts = append(m.accounts, number)
	}
	return m.names[number]
}

func (m *masks) apply(s string) string {
	return identifying.ReplaceAllStringFunc(s, func(found string) string {
		switch {
		case strings.HasPrefix(found, "A"):
			return m.id(found)
		case len(found) == 12:
			return m.account(found)
		case len(found) == 14 && found[4] == '-': // as the sign-in page writes it
			return m.account(strings.ReplaceAll(found, "-", ""))
		}
		// A number known to be an account also goes where it stands in a longer
		// name: a bucket's that ends in account and date, or one like a UUID.
		for _, a := range m.accounts {
			found = strings.ReplaceAll(found, a, m.names[a])
			found = strings.ReplaceAll(found, a[:4]+"-"+a[4:8]+"-"+a[8:], m.names[a])
		}
		return found
	})
}

func (m *masks) id(unique string) string {
	if m.names[unique] != "" {
		return m.names[unique]
	}
	switch unique[:4] {
	case "ABIA", "ACCA", "AKIA", "ASIA":
		m.accessN++
		m.names[unique] = fmt.Sprintf("access-key-%d", m.accessN)
	default:
		m.principalsN++
		m.names[unique] = fmt.Sprintf("principal-%d", m.principalsN)
	}
	return m.names[unique]
}

// secrets are the shapes in which a credential or a plaintext key could get
// into a message that AWS, a proxy or a library wrote: a presigned URL, a
// signed header, a labeled value, a session token.
var secrets = []struct {
	shape *regexp.Regexp
	mask  string
}{
	{regexp.MustCompile(`(?i)\b(X-Amz-(?:Signature|Security-Token|Credential))(=|%3D|:\s*)[^&\s"']+`), "$1$2[masked]"},
	{regexp.MustCompile(`AWS4-(?:HMAC|ECDSA-P256)-SHA256\s+Credential=[^"'\r\n]*`), "AWS4-HMAC-SHA256 [masked]"},
	{regexp.MustCompile(`(?i)\b(aws_?secret_?access_?key|secret_?access_?key|secret_?key|aws_?session_?token|session_?token|security_?token|plaintext|plaintext_?key|private_?key|password)` +
		`(["']?\s*[:=]\s*)["']?[^\s"',;&}]{8,}["']?`), "$1$2[masked]"},
	{regexp.MustCompile(`\b(?:IQoJ|FwoG|FQoG)[A-Za-z0-9+/=_-]{60,}`), "[masked]"},
}

// maskSecrets is the last guard in front of every format; the checks put no
// secret into a report to begin with.
func maskSecrets(s string) string {
	for _, x := range secrets {
		s = x.shape.ReplaceAllString(s, x.mask)
	}
	return s
}

// shown is r as it may be shown to a person or put into markup.
func shown[T any](r *T) *T {
	return mapStrings(r, func(s string) string { return clean(maskSecrets(s)) })
}
