// SPDX-License-Identifier: LGPL-2.1-or-later

// Package libmsg has named message channels between Xen domains, as net.Conn and net.Listener.
//
//	ctx, err := libmsg.Open("", 5*time.Second)
//	conn, err := ctx.Connect(context.Background(), "web/echo", libmsg.Stream)
//
// Context attaches the process to msgd. Its connections have deadlines, and net/http serves over
// them. A goroutine that waits takes no thread: one goroutine for each Context watches the one
// descriptor that libmsg has for all channels, and wakes the others. libmsg(3) has the rules that
// all languages share.
package libmsg

// #cgo pkg-config: libmsg
// #cgo CFLAGS: -I${SRCDIR} -D_GNU_SOURCE
// #include "call.h"
import "C"

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Type is the type of a channel: that of its listener.
type Type int

// The types of channels.
const (
	SeqPacket Type = C.LIBMSG_SEQPACKET // messages, whole, in order, reliable
	Stream    Type = C.LIBMSG_STREAM    // bytes, in order, reliable
	Dgram     Type = C.LIBMSG_DGRAM     // messages, whole, in order, dropped where they find no room
)

// Transport is how payload travels.
type Transport int

// The transports.
const (
	TransportAny        Transport = C.LIBMSG_TRANSPORT_ANY
	TransportArgo       Transport = C.LIBMSG_TRANSPORT_ARGO
	TransportArgoStrict Transport = C.LIBMSG_TRANSPORT_ARGO_STRICT
	TransportGrant      Transport = C.LIBMSG_TRANSPORT_GRANT
)

// Flag is for Connect.
type Flag uint

// WaitName has Connect wait for a domain or a name that is not there yet.
const WaitName Flag = C.LIBMSG_WAIT_NAME

// Version returns the version of the library that runs.
func Version() string { return C.GoString(C.msg_version()) }

// Context is this process's connection to msgd. Its methods may be called by any goroutine.
type Context struct {
	ctx  *C.struct_msg_ctx
	file *os.File      // a copy of the context's descriptor, which the runtime watches
	over chan struct{} // closed when the dispatcher has ended

	mu     sync.Mutex // held by the dispatcher from an event until the socket of it is found
	socks  map[*C.struct_msg_sock]*sock
	closed bool
	turns  int            // of the dispatcher
	calls  sync.WaitGroup // calls of C, besides those on open sockets
}

// Open attaches this process to msgd. hv is "xen", "sim:PATH", "sim:PATH#DOMAIN"; empty: $MSG_HV if
// that is set, else Xen. It waits for msgd's answer for the time limit; negative: for ever.
func Open(hv string, timeout time.Duration) (*Context, error) {
	text := C.CString(hv)
	defer C.free(unsafe.Pointer(text))
	call := C.call_open(text, C.int(milliseconds(timeout)))
	if call.error != 0 {
		return nil, failure("open", hv, call)
	}
	c := &Context{
		ctx:   (*C.struct_msg_ctx)(call.object),
		over:  make(chan struct{}),
		socks: make(map[*C.struct_msg_sock]*sock),
	}
	if err := c.watchFd(); err != nil {
		C.msg_ctx_close(c.ctx)
		return nil, err
	}
	return c, nil
}

func milliseconds(timeout time.Duration) int64 {
	if timeout < 0 {
		return -1
	}
	ms := (timeout + time.Millisecond - 1) / time.Millisecond
	if ms > 1<<31-1 {
		return 1<<31 - 1
	}
	return int64(ms)
}

// enter counts a call of C. False: the context is closed.
func (c *Context) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.calls.Add(1)
	}
	return !c.closed
}

// Close closes all that was made by the context, without waiting for what was sent and has not left,
// and detaches from msgd.
func (c *Context) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return &Error{Op: "close", Err: net.ErrClosed}
	}
	c.closed = true
	socks := make([]*sock, 0, len(c.socks))
	for _, s := range c.socks {
		socks = append(socks, s)
	}
	c.mu.Unlock()
	for _, s := range socks {
		_ = s.end("close", false)
	}
	_ = c.file.SetReadDeadline(time.Unix(0, 1))
	<-c.over
	c.calls.Wait()
	C.msg_ctx_close(c.ctx)
	return c.file.Close()
}

// SetTransport demands a transport for later connects. A demand is met, or Connect fails.
func (c *Context) SetTransport(transport Transport) error {
	if !c.enter() {
		return &Error{Op: "transport", Err: net.ErrClosed}
	}
	defer c.calls.Done()
	call := C.call_set_transport(c.ctx, C.int(transport))
	if call.error != 0 {
		return failure("transport", "", call)
	}
	return nil
}

// ---- the dispatcher ---------------------------------------------------------------------------

// watchFd starts the dispatcher.
func (c *Context) watchFd() error {
	own := C.msg_ctx_fd(c.ctx)
	if own < 0 {
		return &Error{Op: "open", Reason: "no descriptor for event loops", Err: syscall.EMFILE}
	}
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(own), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return &Error{Op: "open", Err: errno}
	}
	// The runtime polls what does not block.
	if err := syscall.SetNonblock(int(fd), true); err != nil {
		_ = syscall.Close(int(fd))
		return &Error{Op: "open", Err: err}
	}
	c.file = os.NewFile(fd, "libmsg")
	raw, err := c.file.SyscallConn()
	if err != nil {
		_ = c.file.Close()
		return &Error{Op: "open", Err: err}
	}
	go c.run(raw)
	return nil
}

func (c *Context) run(raw syscall.RawConn) {
	events := make([]C.struct_msg_event, 64)
	// Until a read deadline in the past ends it.
	_ = raw.Read(func(uintptr) bool {
		for c.dispatch(events) {
		}
		return false
	})
	close(c.over)
}

// dispatch wakes those who wait for what has happened. True: there may be more.
func (c *Context) dispatch(events []C.struct_msg_event) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns++
	call := C.call_dispatch(c.ctx, &events[0], C.int(len(events)))
	for _, event := range events[:max(0, int(call.n))] {
		// A socket that is being closed is known no more.
		if s := c.socks[event.sock]; s != nil {
			s.wake(event.revents)
		}
	}
	return call.flags != 0 && !c.closed
}

func max(a, b int) int {
	if a > b {
		return a
	}
	return b
}

// ---- opening ----------------------------------------------------------------------------------

// open makes a call that opens a socket.
func (c *Context) open(op, text string, t Type, call func(text *C.char) C.struct_call) (*sock, error) {
	closed := &Error{Op: op, Addr: text, Err: net.ErrClosed}
	if !c.enter() {
		return nil, closed
	}
	defer c.calls.Done()
	cText := C.CString(text)
	defer C.free(unsafe.Pointer(cText))
	// The dispatcher must not report a socket that is not known yet: some things it says once.
	c.mu.Lock()
	defer c.mu.Unlock()
	result := call(cText)
	if result.error != 0 {
		return nil, failure(op, text, result)
	}
	if s := c.adopt(result, t, text); s != nil {
		return s, nil
	}
	return nil, closed
}

// Listen listens on a name of this domain. backlog is how many channels may wait to be accepted, 1 to
// 4096; 0: 128.
func (c *Context) Listen(name string, t Type, backlog int) (*Listener, error) {
	if backlog == 0 {
		backlog = 128
	}
	s, err := c.open("listen", name, t, func(text *C.char) C.struct_call {
		return C.call_listen(c.ctx, text, C.int(t), C.int(backlog))
	})
	if err != nil {
		return nil, err
	}
	listens, err := s.once("listen", func() C.struct_call { return C.call_listens(s.sock) })
	if err == nil && listens.n == 0 {
		err = s.answer(context.Background(), "listen")
	}
	if err != nil {
		return nil, err
	}
	return &Listener{s}, nil
}

// Connect connects to "NAME" or "DOMAIN/NAME". It waits until ctx is done.
func (c *Context) Connect(ctx context.Context, address string, t Type, flags ...Flag) (*Conn, error) {
	all := C.uint(0)
	for _, flag := range flags {
		all |= C.uint(flag)
	}
	s, err := c.open("connect", address, t, func(text *C.char) C.struct_call {
		return C.call_connect(c.ctx, text, C.int(t), all)
	})
	if err != nil {
		return nil, err
	}
	if err := s.answer(ctx, "connect"); err != nil {
		return nil, err
	}
	return newConn(s, true), nil
}

// Watch watches for the names that a pattern such as "web*/http" fits.
func (c *Context) Watch(pattern string) (*Watch, error) {
	s, err := c.open("watch", pattern, SeqPacket, func(text *C.char) C.struct_call {
		return C.call_watch(c.ctx, text)
	})
	if err != nil {
		return nil, err
	}
	return &Watch{s}, nil
}
