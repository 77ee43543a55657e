// SPDX-License-Identifier: LGPL-2.1-or-later

package libmsg

// The tests run on the emulator: tests/bindings/run sets $LIBMSG_TEST_HV, "sim:PATH".

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// long is never reached by what works.
const long = 100 * time.Second

var types = map[string]Type{"Stream": Stream, "SeqPacket": SeqPacket, "Dgram": Dgram}

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "send-and-wait" {
		sendAndWait(os.Args[2], types[os.Args[3]])
	}
	os.Exit(m.Run())
}

// sendAndWait is another process, until it is killed.
func sendAndWait(address string, t Type) {
	c, err := Open(os.Getenv("LIBMSG_TEST_HV")+"#shop", long)
	if err == nil {
		var conn *Conn
		if conn, err = c.Connect(context.Background(), address, t); err == nil {
			_, err = conn.Write([]byte("abc"))
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_, _ = io.ReadAll(os.Stdin)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustBe(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, but not %v", err, want)
	}
}

func open(t *testing.T, domain string) *Context {
	t.Helper()
	c, err := Open(os.Getenv("LIBMSG_TEST_HV")+"#"+domain, long)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	t.Cleanup(cancel)
	return ctx
}

type world struct {
	web, shop *Context
	name      string
}

func newWorld(t *testing.T) *world {
	return &world{open(t, "web"), open(t, "shop"), strings.ReplaceAll(strings.ToLower(t.Name()), "/", "-")}
}

func (w *world) listen(t *testing.T, kind Type) *Listener {
	t.Helper()
	l, err := w.web.Listen(w.name, kind, 0)
	must(t, err)
	must(t, l.SetDeadline(time.Now().Add(long)))
	return l
}

// pair returns the end that shop connected, and the one that web accepted.
func (w *world) pair(t *testing.T, kind Type) (*Conn, *Conn) {
	t.Helper()
	l := w.listen(t, kind)
	client, err := w.shop.Connect(within(t), "web/"+w.name, kind)
	must(t, err)
	server, err := l.AcceptMsg()
	must(t, err)
	must(t, l.Close())
	must(t, client.SetDeadline(time.Now().Add(long)))
	must(t, server.SetDeadline(time.Now().Add(long)))
	return client, server
}

func pattern(n int, seed int64) []byte {
	data := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(data)
	return data
}

func echo(conn *Conn) {
	for {
		message, err := conn.ReadMsg()
		if err == nil {
			_, err = conn.Write(message)
		}
		if err != nil {
			_ = conn.Close()
			return
		}
	}
}

func TestEcho(t *testing.T) {
	for name, kind := range types {
		kind := kind
		t.Run(name, func(t *testing.T) {
			client, server := newWorld(t).pair(t, kind)
			if client.Peer().Domain != "web" || server.Peer().Domain != "shop" {
				t.Fatal(client.Peer(), server.Peer())
			}
			if client.RemoteAddr().String() != "web/"+client.Peer().Name {
				t.Fatal(client.RemoteAddr())
			}
			go echo(server)
			for _, n := range []int{1, 100, 5000} {
				_, err := client.Write(pattern(n, 1))
				must(t, err)
				got := make([]byte, n)
				_, err = io.ReadFull(client, got)
				must(t, err)
				if !bytes.Equal(got, pattern(n, 1)) {
					t.Fatal("other bytes")
				}
			}
			must(t, client.CloseWrite())
			if _, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Fatal(err)
			}
		})
	}
}

func TestEmptyMessageIsNoEnd(t *testing.T) {
	client, server := newWorld(t).pair(t, SeqPacket)
	for _, text := range []string{"", "", "whole"} {
		_, err := client.Write([]byte(text))
		must(t, err)
	}
	must(t, client.Close())
	if n, err := server.Read(make([]byte, 9)); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if data, err := server.ReadMsg(); len(data) != 0 || err != nil {
		t.Fatal(data, err)
	}
	if data, err := server.ReadMsg(); string(data) != "whole" || err != nil {
		t.Fatal(data, err)
	}
	if data, err := server.ReadMsg(); err != io.EOF {
		t.Fatal(data, err)
	}
}

func TestHalfClose(t *testing.T) {
	client, server := newWorld(t).pair(t, Stream)
	_, err := client.Write([]byte("question"))
	must(t, err)
	must(t, client.CloseWrite())
	_, err = client.Write([]byte("x"))
	mustBe(t, err, syscall.EPIPE)
	question, err := io.ReadAll(server)
	must(t, err)
	_, err = server.Write(append(question, "answer"...))
	must(t, err)
	must(t, server.Close())
	answer, err := io.ReadAll(client)
	must(t, err)
	if string(answer) != "questionanswer" {
		t.Fatal(string(answer))
	}
}

func TestKilledPeer(t *testing.T) {
	for name, kind := range types {
		name, kind := name, kind
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := w.listen(t, kind)
			child := exec.Command(os.Args[0], "send-and-wait", "web/"+w.name, name)
			child.Stdout = os.Stdout
			stdin, err := child.StdinPipe()
			must(t, err)
			defer stdin.Close()
			must(t, child.Start())
			defer child.Process.Wait()
			defer child.Process.Kill()
			conn, err := l.AcceptMsg()
			must(t, err)
			_, err = io.ReadFull(conn, make([]byte, 3))
			must(t, err)
			failed := make(chan error)
			go func() {
				_, err := conn.Read(make([]byte, 1))
				failed <- err
			}()
			must(t, child.Process.Kill())
			mustBe(t, <-failed, syscall.ECONNRESET)
			_, err = conn.Write([]byte("x"))
			mustBe(t, err, syscall.ECONNRESET)
			var full *Error
			if !errors.As(err, &full) || len(full.Reason) < 5 || full.Timeout() {
				t.Fatal(err)
			}
		})
	}
}

func isTimeout(err error) bool {
	var limit net.Error
	return errors.As(err, &limit) && limit.Timeout()
}

func TestDeadlines(t *testing.T) {
	w := newWorld(t)
	client, server := w.pair(t, Stream)
	must(t, client.SetDeadline(time.Now().Add(20*time.Millisecond)))
	_, err := client.Read(make([]byte, 1))
	mustBe(t, err, os.ErrDeadlineExceeded)
	if !isTimeout(err) {
		t.Fatal(err)
	}
	n, err := client.Write(make([]byte, 64<<20))
	mustBe(t, err, os.ErrDeadlineExceeded)
	// Of those that wait.
	must(t, client.SetReadDeadline(time.Time{}))
	failed := make(chan error)
	go func() {
		_, err := client.Read(make([]byte, 1))
		failed <- err
	}()
	must(t, client.SetReadDeadline(time.Now().Add(time.Hour)))
	must(t, client.SetReadDeadline(time.Unix(1, 0)))
	mustBe(t, <-failed, os.ErrDeadlineExceeded)
	// A new one makes it work again, and nothing was lost.
	must(t, client.SetDeadline(time.Now().Add(long)))
	go func() {
		_, err := client.Write([]byte("end"))
		if err == nil {
			err = client.CloseWrite()
		}
		failed <- err
	}()
	got, err := io.ReadAll(server)
	must(t, err)
	must(t, <-failed)
	if len(got) != n+3 || string(got[n:]) != "end" {
		t.Fatal(n, len(got))
	}
	_, err = server.Write([]byte("x"))
	must(t, err)
	_, err = client.Read(make([]byte, 1))
	must(t, err)

	l, err := w.web.Listen("deadlines", Stream, 1)
	must(t, err)
	must(t, l.SetDeadline(time.Now().Add(20*time.Millisecond)))
	_, err = l.Accept()
	mustBe(t, err, os.ErrDeadlineExceeded)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = w.shop.Connect(ctx, "web/never", Stream, WaitName)
	mustBe(t, err, context.DeadlineExceeded)
	if !isTimeout(err) {
		t.Fatal(err)
	}
}

func TestErrorsSayWhy(t *testing.T) {
	w := newWorld(t)
	_, err := w.shop.Connect(within(t), "web/secret", Stream)
	mustBe(t, err, syscall.EACCES)
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "policy") || isTimeout(err) {
		t.Fatal(err)
	}
	_, err = w.shop.Connect(within(t), "web/nobody", Stream)
	mustBe(t, err, os.ErrNotExist)
	_, err = w.web.Listen("a bad name", Stream, 0)
	mustBe(t, err, syscall.EINVAL)
	l := w.listen(t, Stream)
	_, err = w.web.Listen(w.name, Stream, 0)
	mustBe(t, err, syscall.EADDRINUSE)
	_, err = w.shop.Connect(within(t), "web/"+w.name, SeqPacket)
	mustBe(t, err, syscall.EPROTOTYPE)
	must(t, l.Close())
	_, err = l.Accept()
	mustBe(t, err, net.ErrClosed)
	_, err = Open("nowhere", 0)
	mustBe(t, err, syscall.EINVAL)
}

func TestBigTransfer(t *testing.T) {
	client, server := newWorld(t).pair(t, Stream)
	data := pattern(32<<20, 2)
	go func() {
		_, _ = client.Write(data)
		_ = client.Close()
	}()
	got := sha256.New()
	n, err := io.Copy(got, server)
	must(t, err)
	if want := sha256.Sum256(data); n != int64(len(data)) || !bytes.Equal(got.Sum(nil), want[:]) {
		t.Fatal("other bytes", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	l := w.listen(t, Stream)
	go func() {
		for {
			conn, err := l.AcceptMsg()
			if err != nil {
				return
			}
			go echo(conn)
		}
	}()
	var all sync.WaitGroup
	for i := 0; i < 100; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			conn, err := w.shop.Connect(within(t), "web/"+w.name, Stream)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			data := pattern(200000+i, int64(i))
			go func() { _, _ = conn.Write(data); _ = conn.CloseWrite() }()
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, data) {
				t.Error(err, len(got))
			}
		}(i)
	}
	all.Wait()
}

func TestWatch(t *testing.T) {
	w := newWorld(t)
	watch, err := w.shop.Watch("web/seen*")
	must(t, err)
	must(t, watch.SetDeadline(time.Now().Add(long)))
	next := func(want Name) {
		t.Helper()
		got, err := watch.Next()
		must(t, err)
		if got != want {
			t.Fatal(got, want)
		}
	}
	next(Name{true, ""})
	l, err := w.web.Listen("seen-go", Stream, 0)
	must(t, err)
	next(Name{true, "web/seen-go"})
	must(t, l.Close())
	next(Name{false, "web/seen-go"})
	must(t, watch.Close())
}

func TestCloseEndsCalls(t *testing.T) {
	w := newWorld(t)
	client, server := w.pair(t, Stream)
	l := w.listen(t, Stream)
	failed := make(chan error)
	begin := func(call func() error) { go func() { failed <- call() }() }
	begin(func() error { _, err := client.Read(make([]byte, 1)); return err })
	for client.in.mu.TryLock() {
		client.in.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // it waits by now, most likely
	must(t, client.Close())
	mustBe(t, <-failed, net.ErrClosed)
	mustBe(t, client.Close(), net.ErrClosed)
	begin(func() error { _, err := l.Accept(); return err })
	begin(func() error { _, err := w.web.Connect(within(t), "web/never", Stream, WaitName); return err })
	begin(func() error { _, err := io.Copy(io.Discard, server); return err })
	must(t, <-failed) // the end: client has closed
	must(t, w.web.Close())
	mustBe(t, <-failed, net.ErrClosed)
	mustBe(t, <-failed, net.ErrClosed)
	_, err := w.web.Listen("late", Stream, 0)
	mustBe(t, err, net.ErrClosed)
}

func (c *Context) countTurns() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turns
}

func threads(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/task")
	must(t, err)
	return len(list)
}

// Those who wait take no thread, and what nobody reads takes no time.
func TestWaitingIsCheap(t *testing.T) {
	w := newWorld(t)
	l := w.listen(t, Stream)
	before := threads(t)
	var all sync.WaitGroup
	var clients []*Conn
	for i := 0; i < 200; i++ {
		client, err := w.shop.Connect(within(t), "web/"+w.name, Stream)
		must(t, err)
		server, err := l.AcceptMsg()
		must(t, err)
		_, err = client.Write([]byte("unread"))
		must(t, err)
		clients = append(clients, client)
		all.Add(1)
		go func() {
			defer all.Done()
			_, _ = client.Read(make([]byte, 1))
			_ = server
		}()
	}
	// While nothing happens the dispatcher does nothing.
	time.Sleep(100 * time.Millisecond)
	began := w.web.countTurns()
	time.Sleep(300 * time.Millisecond)
	if n := w.web.countTurns() - began; n > 100 {
		t.Errorf("%d turns for nothing", n)
	}
	if n := threads(t) - before; n > 50 {
		t.Errorf("%d threads for 200 goroutines", n)
	}
	for _, client := range clients[:100] {
		_ = client.Close()
	}
	// Nor after the end of what nobody reads.
	must(t, w.shop.Close())
	all.Wait()
	time.Sleep(100 * time.Millisecond)
	began = w.web.countTurns()
	time.Sleep(200 * time.Millisecond)
	if n := w.web.countTurns() - began; n > 100 {
		t.Errorf("%d turns for an end that nobody reads", n)
	}
}

func TestHTTP(t *testing.T) {
	w := newWorld(t)
	l := w.listen(t, Stream)
	must(t, l.SetDeadline(time.Time{}))
	server := &http.Server{
		ReadTimeout: long,
		Handler: http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
			body, err := io.ReadAll(request.Body)
			if err != nil || request.RemoteAddr != "shop" {
				out.WriteHeader(http.StatusBadRequest)
			}
			_, _ = out.Write(append(body, body...))
		}),
	}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	client := &http.Client{Timeout: long, Transport: &http.Transport{
		MaxIdleConnsPerHost: 10,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return w.shop.Connect(ctx, "web/"+w.name, Stream)
		},
	}}
	var all sync.WaitGroup
	for i := 0; i < 20; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			for _, n := range []int{0, 100, 70000 + i, 200000} {
				body := pattern(n, int64(i))
				answer, err := client.Post("http://web/", "application/octet-stream", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(answer.Body)
				_ = answer.Body.Close()
				if err != nil || answer.StatusCode != 200 || !bytes.Equal(got, append(body, body...)) {
					t.Error(err, answer.Status, len(got))
				}
			}
		}(i)
	}
	all.Wait()
	client.CloseIdleConnections()
	must(t, server.Shutdown(within(t)))
	mustBe(t, <-served, http.ErrServerClosed)
}

// A server that ends in the middle of a body is seen by net/http.
func TestHTTPCut(t *testing.T) {
	client, server := newWorld(t).pair(t, Stream)
	go func() {
		_, _ = http.ReadRequest(bufio.NewReader(server))
		_, _ = server.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegins"))
		_ = server.Close()
	}()
	request, err := http.NewRequest("GET", "http://web/", nil)
	must(t, err)
	must(t, request.Write(client))
	answer, err := http.ReadResponse(bufio.NewReader(client), request)
	must(t, err)
	_, err = io.ReadAll(answer.Body)
	mustBe(t, err, io.ErrUnexpectedEOF)
}
