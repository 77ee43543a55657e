// SPDX-License-Identifier: LGPL-2.1-or-later

package libmsg

// #include "call.h"
import "C"

import (
	"io"
	"net"
	"time"
	"unsafe"
)

// Addr is a name in a domain, as net.Addr.
type Addr struct {
	Domain, Name string
}

// Network returns "libmsg".
func (Addr) Network() string { return "libmsg" }

func (a Addr) String() string {
	switch {
	case a.Domain == "":
		return a.Name
	case a.Name == "":
		return a.Domain
	}
	return a.Domain + "/" + a.Name
}

// Peer says who is at the other end of a connection.
type Peer struct {
	Domain    string
	DomID     uint32
	Name      string // the name that was connected to
	UUID      [16]byte
	Transport Transport
}

// ---- Conn -------------------------------------------------------------------------------------

// Conn is one end of a channel. It is a net.Conn. Of SeqPacket and Dgram each Write sends a message and
// each Read receives one, of which it throws away what does not fit; ReadMsg receives all of it.
type Conn struct {
	*sock
	peer          Peer
	local, remote Addr
}

func newConn(s *sock, connected bool) *Conn {
	c := &Conn{sock: s}
	var peer C.struct_msg_peer
	if _, err := s.once("getpeer", func() C.struct_call { return C.call_peer(s.sock, &peer) }); err == nil {
		c.peer = Peer{
			Domain:    C.GoString(&peer.domain[0]),
			DomID:     uint32(peer.domid),
			Name:      C.GoString(&peer.name[0]),
			UUID:      *(*[16]byte)(unsafe.Pointer(&peer.uuid)),
			Transport: Transport(peer.transport),
		}
	}
	if connected {
		c.remote = Addr{c.peer.Domain, c.peer.Name}
	} else {
		c.local, c.remote = Addr{"", c.peer.Name}, Addr{c.peer.Domain, ""}
	}
	return c
}

// Peer says who is at the other end.
func (c *Conn) Peer() Peer { return c.peer }

// LocalAddr returns the listener's name in an accepted connection.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the peer's domain, and the name in it that was connected to.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Read reads bytes of a stream, or a message. It returns io.EOF at the end of the channel, and an error
// of syscall.ECONNRESET if the channel is cut.
func (c *Conn) Read(data []byte) (int, error) {
	if len(data) == 0 && c.t == Stream {
		return 0, nil
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	result, err := c.run("read", &c.in, func() C.struct_call {
		if len(data) == 0 {
			return C.call_recv(c.sock.sock, nil, 0)
		}
		// In this form cgo knows that C gets the bytes of the slice, and no more of what they are in.
		return C.call_recv(c.sock.sock, unsafe.Pointer(&data[0]), C.size_t(len(data)))
	})
	if err != nil {
		return 0, err
	}
	if result.n == 0 && result.flags&C.MSG_EOR == 0 {
		return 0, io.EOF
	}
	return int(result.n), nil
}

// ReadMsg returns a whole message, or what is there of a stream; io.EOF at the end.
func (c *Conn) ReadMsg() ([]byte, error) { return c.take("read") }

func (s *sock) take(op string) ([]byte, error) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	var data []byte
	result, err := s.run(op, &s.in, func() C.struct_call {
		var bytes unsafe.Pointer
		call := C.call_take(s.sock, &bytes)
		if call.object != nil {
			data = C.GoBytes(bytes, C.int(call.n))
			C.msg_buf_free((*C.struct_msg_buf)(call.object))
		}
		return call
	})
	if err == nil && result.object == nil {
		err = io.EOF
	}
	return data, err
}

// Write writes all bytes of a stream, or one message.
func (c *Conn) Write(data []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	done := 0
	for {
		result, err := c.run("write", &c.out, func() C.struct_call {
			if len(data) == done {
				return C.call_send(c.sock.sock, nil, 0)
			}
			return C.call_send(c.sock.sock, unsafe.Pointer(&data[done]), C.size_t(len(data)-done))
		})
		if err != nil {
			return done, err
		}
		done += int(result.n)
		if done == len(data) {
			return done, nil
		}
	}
}

// CloseWrite ends the sending: the peer reads what was sent, then the end.
func (c *Conn) CloseWrite() error {
	_, err := c.once("close", func() C.struct_call { return C.call_shutdown(c.sock.sock, C.SHUT_WR) })
	return err
}

// CloseRead ends the receiving. The peer is not told, and what it sends is thrown away.
func (c *Conn) CloseRead() error {
	_, err := c.once("close", func() C.struct_call { return C.call_shutdown(c.sock.sock, C.SHUT_RD) })
	c.in.wake()
	return err
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(when time.Time) error {
	_ = c.SetReadDeadline(when)
	return c.SetWriteDeadline(when)
}

// SetReadDeadline moves the moment at which reads fail with os.ErrDeadlineExceeded, also those that wait.
func (c *Conn) SetReadDeadline(when time.Time) error { return c.setDeadline(&c.in, when) }

// SetWriteDeadline moves the moment at which writes fail.
func (c *Conn) SetWriteDeadline(when time.Time) error { return c.setDeadline(&c.out, when) }

func (s *sock) setDeadline(d *direction, when time.Time) error {
	if isClosed(s.gone) {
		return &Error{Op: "deadline", Addr: s.addr, Err: net.ErrClosed}
	}
	d.deadline.set(when)
	return nil
}

// ---- Listener ---------------------------------------------------------------------------------

// Listener is a net.Listener.
type Listener struct {
	*sock
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptMsg()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptMsg is Accept, and returns a *Conn.
func (l *Listener) AcceptMsg() (*Conn, error) {
	// What was accepted is the context's until it is known here.
	if !l.ctx.enter() {
		return nil, &Error{Op: "accept", Addr: l.addr, Err: net.ErrClosed}
	}
	defer l.ctx.calls.Done()
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	result, err := l.run("accept", &l.in, func() C.struct_call { return C.call_accept(l.sock.sock) })
	if err != nil {
		return nil, err
	}
	l.ctx.mu.Lock()
	s := l.ctx.adopt(result, l.t, l.addr)
	l.ctx.mu.Unlock()
	if s == nil {
		return nil, &Error{Op: "accept", Addr: l.addr, Err: net.ErrClosed}
	}
	return newConn(s, false), nil
}

// Addr returns the name.
func (l *Listener) Addr() net.Addr { return Addr{"", l.addr} }

// SetDeadline moves the moment at which Accept fails.
func (l *Listener) SetDeadline(when time.Time) error { return l.setDeadline(&l.in, when) }

// ---- Watch ------------------------------------------------------------------------------------

// Watch tells of the names that its pattern fits, as they come and go.
type Watch struct {
	*sock
}

// Name is news of a Watch: whether there is such a name now. An empty Address says that all names that
// were there when the watch began have been told.
type Name struct {
	There   bool
	Address string // "DOMAIN/NAME"
}

// Next waits for the next news.
func (w *Watch) Next() (Name, error) {
	text, err := w.take("watch")
	if err != nil {
		return Name{}, err
	}
	if len(text) == 0 {
		return Name{There: true}, nil
	}
	return Name{There: text[0] == '+', Address: string(text[1:])}, nil
}

// SetDeadline moves the moment at which Next fails.
func (w *Watch) SetDeadline(when time.Time) error { return w.setDeadline(&w.in, when) }
