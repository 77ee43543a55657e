// SPDX-License-Identifier: LGPL-2.1-or-later

package libmsg

// #include "call.h"
import "C"

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// sock is a socket of libmsg, which does not block, and the goroutines that wait for it.
//
// The dispatcher reports what arrives once, and then no more until somebody waits for it again: a
// connection that nobody reads costs nothing.
type sock struct {
	ctx    *Context
	t      Type
	addr   string
	ending bool // under the context's lock

	mu     sync.RWMutex // held for reading in each call of C, for writing to close
	sock   *C.struct_msg_sock
	closed bool
	gone   chan struct{} // closed with it

	in, out direction

	armMu sync.Mutex
	armed bool
}

// direction is reading or writing: one goroutine at a time.
type direction struct {
	mu       sync.Mutex
	ready    chan struct{} // one token: something may have happened
	deadline deadline
}

// adopt makes a sock of a call that succeeded. The context is locked. If it is being closed, the
// socket is closed at once, and nil is returned.
func (c *Context) adopt(call C.struct_call, t Type, addr string) *sock {
	handle := (*C.struct_msg_sock)(call.object)
	if c.closed {
		C.call_close(handle, 0)
		return nil
	}
	s := &sock{ctx: c, t: t, addr: addr, sock: handle, gone: make(chan struct{}), armed: true}
	s.in.ready, s.out.ready = make(chan struct{}, 1), make(chan struct{}, 1)
	c.socks[handle] = s
	return s
}

// ---- waiting ----------------------------------------------------------------------------------

func (d *direction) wake() {
	select {
	case d.ready <- struct{}{}:
	default:
	}
}

// arm has the dispatcher hear of what arrives, or not. Once told not to, it hears of an end once: it
// must not be told again, or it would hear of the end again.
func (s *sock) arm(armed bool) {
	s.armMu.Lock()
	defer s.armMu.Unlock()
	if s.armed == armed && !armed {
		return
	}
	s.armed = armed
	events := C.int64_t(0)
	if armed {
		events = C.POLLIN
	}
	C.msg_setopt(s.sock, C.LIBMSG_EVENTS, events)
}

// wake is called by the dispatcher, with the context locked.
func (s *sock) wake(events C.short) {
	if events&(C.POLLOUT|C.POLLERR|C.POLLHUP) != 0 {
		s.out.wake()
	}
	if events&(C.POLLIN|C.POLLERR|C.POLLHUP|C.POLLRDHUP) != 0 {
		s.arm(false)
		s.in.wake()
	}
}

// wait returns when something may have happened, or with the reason why nothing will.
func (s *sock) wait(d *direction) error {
	select {
	case <-d.ready:
		return nil
	case <-d.deadline.over():
		return os.ErrDeadlineExceeded
	case <-s.gone:
		return net.ErrClosed
	}
}

// run calls until the call does not fail with EAGAIN.
func (s *sock) run(op string, d *direction, call func() C.struct_call) (C.struct_call, error) {
	for {
		if d.deadline.isOver() {
			return C.struct_call{}, &Error{Op: op, Addr: s.addr, Err: os.ErrDeadlineExceeded}
		}
		result, err := s.try(op, d, call)
		if err != nil || result.error == 0 {
			return result, err
		}
		if err := s.wait(d); err != nil {
			return result, &Error{Op: op, Addr: s.addr, Err: err}
		}
	}
}

// try calls once. The error EAGAIN is in the result only.
func (s *sock) try(op string, d *direction, call func() C.struct_call) (C.struct_call, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return C.struct_call{}, &Error{Op: op, Addr: s.addr, Err: net.ErrClosed}
	}
	result := call()
	if syscall.Errno(result.error) == syscall.EAGAIN {
		if d == &s.in {
			s.arm(true)
		}
		return result, nil
	}
	if result.error != 0 {
		return result, failure(op, s.addr, result)
	}
	return result, nil
}

// answer waits for msgd's to a listen or a connect, of which POLLOUT tells, once. The sock is closed if
// it fails.
func (s *sock) answer(ctx context.Context, op string) error {
	var err error
	select {
	case <-s.out.ready:
		_, err = s.once(op, func() C.struct_call { return C.call_check(s.sock) })
	case <-s.gone:
		err = &Error{Op: op, Addr: s.addr, Err: net.ErrClosed}
	case <-ctx.Done():
		err = &Error{Op: op, Addr: s.addr, Err: ctx.Err(),
			Reason: "nobody was there in time, or did not answer"}
	}
	if err != nil {
		_ = s.end("close", false)
	}
	return err
}

// once makes a call that does not wait for anything.
func (s *sock) once(op string, call func() C.struct_call) (C.struct_call, error) {
	result, err := s.try(op, &s.out, call)
	if err == nil && result.error != 0 {
		err = failure(op, s.addr, result)
	}
	return result, err
}

// ---- ending -----------------------------------------------------------------------------------

// end closes the sock and ends the calls that wait for it.
func (s *sock) end(op string, lingers bool) error {
	// From here on the context stays until this call is over.
	s.ctx.mu.Lock()
	ending := s.ending
	s.ending = true
	if !ending {
		s.ctx.calls.Add(1)
		delete(s.ctx.socks, s.sock)
	}
	s.ctx.mu.Unlock()
	if ending {
		return &Error{Op: op, Addr: s.addr, Err: net.ErrClosed}
	}
	defer s.ctx.calls.Done()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.gone)
	s.in.deadline.set(time.Time{})
	s.out.deadline.set(time.Time{})
	C.msg_setopt(s.sock, C.LIBMSG_EVENTS, 0)
	n := C.int(0)
	if lingers {
		n = 1
	}
	if call := C.call_close(s.sock, n); call.error != 0 {
		return failure(op, s.addr, call)
	}
	return nil
}

// Close closes it. What was sent still leaves: Close waits for that, for as long as the option Linger
// says, and fails if data was lost.
func (s *sock) Close() error { return s.end("close", true) }

// ---- options ----------------------------------------------------------------------------------

// Option is an option of a listener or a connection.
type Option int

// The options: see msg_setopt(3).
const (
	Linger     Option = C.LIBMSG_LINGER // in ms
	RcvBuf     Option = C.LIBMSG_RCVBUF
	SndBuf     Option = C.LIBMSG_SNDBUF
	MaxMsg     Option = C.LIBMSG_MAXMSG
	Cork       Option = C.LIBMSG_CORK
	Spin       Option = C.LIBMSG_SPIN
	Drops      Option = C.LIBMSG_DROPS
	DropOldest Option = C.LIBMSG_DROP_OLDEST
)

// SetOption sets an option.
func (s *sock) SetOption(option Option, value int64) error {
	_, err := s.once("setopt", func() C.struct_call {
		return C.call_setopt(s.sock, C.int(option), C.int64_t(value))
	})
	return err
}

// Option reads an option.
func (s *sock) Option(option Option) (int64, error) {
	result, err := s.once("getopt", func() C.struct_call { return C.call_getopt(s.sock, C.int(option)) })
	return int64(result.n), err
}

// ---- deadlines --------------------------------------------------------------------------------

// deadline is a moment that may be moved while others wait for it.
type deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	passed  chan struct{} // closed when the moment has come; nil: nobody has asked yet
	version int           // of the moment: a timer of a former one does nothing
}

func (d *deadline) channel() chan struct{} {
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}

// over returns a channel that is closed once the moment has come.
func (d *deadline) over() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channel()
}

func isClosed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}

func (d *deadline) isOver() bool { return isClosed(d.over()) }

// set moves the moment; the zero time: never.
func (d *deadline) set(when time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if isClosed(d.channel()) {
		d.passed = make(chan struct{})
	}
	if when.IsZero() {
		return
	}
	left := time.Until(when)
	if left <= 0 {
		close(d.passed)
		return
	}
	version := d.version
	d.timer = time.AfterFunc(left, func() { d.pass(version) })
}

func (d *deadline) pass(version int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if version == d.version {
		close(d.passed)
	}
}
