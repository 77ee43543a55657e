// SPDX-License-Identifier: LGPL-2.1-or-later

package libmsg

// #include "call.h"
import "C"

import (
	"syscall"
	"unsafe"
)

// Error is the error of every operation. Err is a syscall.Errno, os.ErrDeadlineExceeded,
// net.ErrClosed, or the error of a context.Context: errors.Is(err, syscall.ECONNRESET) says that the
// peer died, errors.Is(err, syscall.EACCES) that policy refuses.
type Error struct {
	Op     string // "connect", "read" and so on
	Addr   string // the name or the address, or empty
	Reason string // libmsg's sentence, or empty
	Err    error
}

func (e *Error) Error() string {
	text := "libmsg: " + e.Op
	if e.Addr != "" {
		text += " " + e.Addr
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Timeout says whether a time limit was over, as net.Error wants it.
func (e *Error) Timeout() bool {
	limit, ok := e.Err.(interface{ Timeout() bool })
	return ok && limit.Timeout() && e.Err != syscall.EAGAIN
}

// Temporary is false: no operation that failed succeeds if it is only tried again.
func (e *Error) Temporary() bool { return e.Timeout() }

// failure makes an error of a call that failed, and frees its reason.
func failure(op, addr string, call C.struct_call) error {
	err := &Error{Op: op, Addr: addr, Err: syscall.Errno(call.error)}
	if call.reason != nil {
		err.Reason = C.GoString(call.reason)
		C.free(unsafe.Pointer(call.reason))
	}
	return err
}
