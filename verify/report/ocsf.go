package report

import (
	"io"
	"slices"
	"strings"
)

// ocsfVersion is the version of the Open Cybersecurity Schema Framework that
// WriteOCSF keeps to.
const ocsfVersion = "1.8.0"

// WriteOCSF writes r as a JSON array of OCSF Compliance Findings (class 2003,
// with the cloud profile), one for each check, as Security Hub, Security Lake
// and Prowler's consumers read them.
// Source: https://schema.ocsf.io/1.8.0/classes/compliance_finding
//
// A check that is inconclusive, skipped or not evaluated has the compliance
// status Other (99) with verify's own status text: OCSF's Warning could be taken for a
// pass. If the responses are not AWS's own, cloud.provider states that.
func WriteOCSF(w io.Writer, r *Report) error {
	r = shown(r)
	findings := []ocsfFinding{}
	for _, x := range r.Results {
		findings = append(findings, r.ocsfFinding(x))
	}
	return encodeJSON(w, findings)
}

type ocsfFinding struct {
	ActivityID   int             `json:"activity_id"`
	ActivityName string          `json:"activity_name"`
	CategoryUID  int             `json:"category_uid"`
	CategoryName string          `json:"category_name"`
	ClassUID     int             `json:"class_uid"`
	ClassName    string          `json:"class_name"`
	TypeUID      int             `json:"type_uid"`
	TypeName     string          `json:"type_name"`
	Time         int64           `json:"time"` // milliseconds
	StartTime    int64           `json:"start_time"`
	EndTime      int64           `json:"end_time"`
	SeverityID   int             `json:"severity_id"`
	Severity     string          `json:"severity"`
	StatusID     int             `json:"status_id"`
	Status       string          `json:"status"`
	StatusCode   string          `json:"status_code"`
	StatusDetail string          `json:"status_detail"`
	Message      string          `json:"message"`
	Metadata     ocsfMetadata    `json:"metadata"`
	Cloud        ocsfCloud       `json:"cloud"`
	FindingInfo  ocsfFindingInfo `json:"finding_info"`
	Compliance   ocsfCompliance  `json:"compliance"`
	Resources    []ocsfResource  `json:"resources,omitempty"`
	Remediation  *ocsfText       `json:"remediation,omitempty"`
	Evidences    []ocsfEvidence  `json:"evidences,omitempty"`
	Unmapped     ocsfUnmapped    `json:"unmapped"`
}

type ocsfMetadata struct {
	Version   string      `json:"version"`
	Profiles  []string    `json:"profiles"`
	EventCode string      `json:"event_code"`
	Product   ocsfProduct `json:"product"`
}

type ocsfProduct struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
	Version    string `json:"version"`
}

type ocsfCloud struct {
	Provider  string       `json:"provider"`
	Account   *ocsfAccount `json:"account,omitempty"`
	Region    string       `json:"region,omitempty"`
	Partition string       `json:"cloud_partition,omitempty"`
}

type ocsfAccount struct {
	UID    string `json:"uid"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
}

type ocsfFindingInfo struct {
	UID         string       `json:"uid"`
	Title       string       `json:"title"`
	Desc        string       `json:"desc"`
	CreatedTime int64        `json:"created_time"`
	Types       []string     `json:"types"`
	Analytic    ocsfAnalytic `json:"analytic"`
}

type ocsfAnalytic struct {
	UID     string `json:"uid"`
	Name    string `json:"name"`
	TypeID  int    `json:"type_id"`
	Type    string `json:"type"`
	Version string `json:"version"`
}

type ocsfCompliance struct {
	StatusID      int      `json:"status_id"`
	Status        string   `json:"status"`
	StatusDetails []string `json:"status_details,omitempty"`
	Control       string   `json:"control"`
	Desc          string   `json:"desc"`
	Standards     []string `json:"standards,omitempty"`
	Requirements  []string `json:"requirements,omitempty"`
}

type ocsfResource struct {
	UID       string `json:"uid"`
	Name      string `json:"name"`
	Type      string `json:"type"`
	Region    string `json:"region,omitempty"`
	Partition string `json:"cloud_partition,omitempty"`
}

type ocsfText struct {
	Desc string `json:"desc"`
}

type ocsfEvidence struct {
	Data Evidence `json:"data"`
}

// ocsfUnmapped is what OCSF has no attribute for.
type ocsfUnmapped struct {
	Notice       string   `json:"notice,omitempty"`
	Expected     string   `json:"expected"`
	NotProven    string   `json:"not_proven,omitempty"`
	FailureCount int      `json:"failure_count,omitempty"`
	Scope        Scope    `json:"scope"`
	Access       []Access `json:"access,omitempty"`
	AccessNotes  []string `json:"access_notes,omitempty"`
}

func (r *Report) ocsfFinding(x Result) ocsfFinding {
	s := r.Subject
	f := ocsfFinding{
		ActivityID: 1, ActivityName: "Create", CategoryUID: 2, CategoryName: "Findings",
		ClassUID: 2003, ClassName: "Compliance Finding", TypeUID: 200301, TypeName: "Compliance Finding: Create",
		Time: r.FinishedAt.UnixMilli(), StartTime: r.StartedAt.UnixMilli(), EndTime: r.FinishedAt.UnixMilli(),
		StatusID: 1, Status: "New", StatusCode: strings.ToUpper(string(x.Status)), StatusDetail: x.Actual,
		Message: strings.TrimSpace(r.Notice + " " + x.Title + ": " + string(x.Status) + ": " + x.Actual),
		Metadata: ocsfMetadata{Version: ocsfVersion, Profiles: []string{"cloud"}, EventCode: x.ID,
			Product: ocsfProduct{"kms-baseline verify", "securethecloud", r.Version}},
		Cloud: ocsfCloud{Provider: "AWS", Region: s.Region, Partition: r.partition()},
		FindingInfo: ocsfFindingInfo{
			UID:   strings.Join([]string{"kms-baseline-verify", s.Account, s.Region, x.ID, lastPart(s.KeyARN), s.Bucket}, "/"),
			Title: x.Title, Desc: x.Why, CreatedTime: r.FinishedAt.UnixMilli(), Types: []string{"Encryption"},
			Analytic: ocsfAnalytic{x.ID, x.Title, 1, "Rule", r.Version},
		},
		Compliance: ocsfCompliance{Control: x.ID, Desc: x.Expected, StatusDetails: x.Failures},
		Unmapped:   ocsfUnmapped{Notice: r.Notice, Expected: x.Expected, NotProven: x.NotProven, FailureCount: x.FailureCount, Scope: r.Scope},
	}
	f.SeverityID, f.Severity = ocsfSeverity(x.Severity)
	switch x.Status {
	case Pass:
		f.Compliance.StatusID, f.Compliance.Status = 1, "Pass"
	case Fail:
		f.Compliance.StatusID, f.Compliance.Status = 3, "Fail"
	default:
		f.Compliance.StatusID, f.Compliance.Status = 99, strings.ToUpper(string(x.Status)[:1])+string(x.Status)[1:]
	}
	if slices.ContainsFunc(r.Scope.Endpoints, func(e Endpoint) bool { return !e.AWS }) {
		f.Cloud.Provider = "not AWS: " + r.Scope.endpoints()
	}
	if s.Account != "" {
		f.Cloud.Account = &ocsfAccount{s.Account, 10, "AWS Account"}
	}
	for _, c := range x.Controls {
		if !slices.Contains(f.Compliance.Standards, c.Framework) {
			f.Compliance.Standards = append(f.Compliance.Standards, c.Framework)
		}
		f.Compliance.Requirements = append(f.Compliance.Requirements, c.String())
	}
	if uid, kind := r.resource(x); uid != "" {
		f.Resources = []ocsfResource{{UID: uid, Name: lastPart(strings.TrimPrefix(uid, "arn:"+r.partition()+":s3:::")), Type: kind, Region: s.Region, Partition: r.partition()}}
	}
	if x.Remedy != "" {
		f.Remediation = &ocsfText{x.Remedy}
	}
	for _, e := range x.Evidence {
		f.Evidences = append(f.Evidences, ocsfEvidence{e})
	}
	if strings.HasSuffix(x.ID, ".policy") || strings.HasSuffix(x.ID, ".access") { // what lists who has access
		f.Unmapped.Access, f.Unmapped.AccessNotes = r.Access, r.AccessNotes
	}
	return f
}

func ocsfSeverity(severity string) (int, string) {
	switch severity {
	case "critical":
		return 5, "Critical"
	case "high":
		return 4, "High"
	case "medium":
		return 3, "Medium"
	case "low":
		return 2, "Low"
	}
	return 0, "Unknown"
}
