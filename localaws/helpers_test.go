package localaws

import "path/filepath"

// trailEntry is what the tests read of a CloudTrail record.
type trailEntry struct {
	UserIdentity struct {
		Type, ARN, AccountID, UserName, InvokedBy string
	}
	EventTime, EventSource, EventName, AWSRegion, SourceIPAddress, UserAgent string
	ErrorCode, ErrorMessage, RequestID, EventID, EventType                   string
	RequestParameters, ResponseElements, AdditionalEventData                 any
	ReadOnly, ManagementEvent                                                bool
	Resources                                                                []trailResource
	RecipientAccountID, EventCategory                                        string
	TLSDetails                                                               *struct{ TLSVersion, CipherSuite, ClientProvidedHostHeader string }
}

// objects is the directory of the objects' files.
func (s *Server) objects() string { return filepath.Join(s.opts.Dir, "objects") }

type trailResource struct{ AccountID, Type, ARN, ARNPrefix string }

// Sizes of the object file's format and of S3's limits, in bytes.
const (
	sealChunk = 64 << 10
	sealTag   = 16
	minPart   = 5 << 20
)
