package wire

import (
	"errors"
	"fmt"
	"log"
	"net/http"
)

// Error is an error in AWS's terms. Each service renders it in its own form.
type Error struct {
	Status  int // HTTP status
	Code    string
	Message string
	// Extra has more elements for S3's XML: BucketName, Key.
	Extra map[string]string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errf makes an Error.
func Errf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// NotImplemented is the error of everything that localaws does not model: an
// operation, a parameter or a value. what completes "localaws does not
// implement".
func NotImplemented(service, what string) *Error {
	if what == "" {
		what = "this operation"
	}
	return Errf(http.StatusNotImplemented, "NotImplemented", "localaws does not implement %s of %s", what, service)
}

// AsError turns an unexpected error into AWS's InternalFailure, and logs it: what
// went wrong inside is not for callers.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	log.Printf("localaws: internal failure: %v", err)
	return Errf(http.StatusInternalServerError, "InternalFailure", "The request processing has failed because of an unknown error, exception or failure.")
}
