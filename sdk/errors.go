package sdk

import (
	"errors"
	"fmt"
	"time"
)

// Class says what kind of failure an error is; the host decides by it.
type Class string

const (
	InvalidConfig    Class = "invalid_config"    // the operator must change something
	Temporary        Class = "temporary"         // try again, after RetryAfter if set
	Downstream       Class = "downstream"        // the system that was asked or told refused
	Unsupported      Class = "unsupported"       // this platform or device cannot do it
	PermissionDenied Class = "permission_denied" // the grants do not allow it
	Internal         Class = "internal"          // a bug in the plugin; the class of an unclassified error
)

// Error carries the class of a failure and, with it, who is to blame.
type Error struct {
	Class      Class
	Message    string
	RetryAfter time.Duration
	Err        error
}

// Error is the message, then the cause.
func (e *Error) Error() string {
	if e.Err != nil && e.Message != "" {
		return e.Message + ": " + e.Err.Error()
	}
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause, nil when there is none.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error of the class; %w wraps as in fmt.Errorf.
func Errorf(class Class, format string, args ...any) error {
	return &Error{Class: class, Err: fmt.Errorf(format, args...)}
}

// ClassOf returns the class of err, Internal when it carries none.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Internal
}
