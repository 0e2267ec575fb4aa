//go:build unix

package platform

import (
	"errors"
	"io"
	"net"
	"sync"
)

// Line is a TCP proxy that stands for a network: Cut swallows nothing and forwards nothing, as a cable that is pulled
// does; connections stay open, new ones are taken, and after Mend what was under way goes on.
type Line struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	whole chan struct{} // closed while the line is whole
	open  map[net.Conn]bool
	ended bool
}

// NewLine listens on loopback and forwards to an address. Close it.
func NewLine(to string) (*Line, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Line{listener: listener, to: to, whole: make(chan struct{}), open: map[net.Conn]bool{}}
	close(l.whole)
	go l.accept()
	return l, nil
}

// Address is where to call.
func (l *Line) Address() string { return l.listener.Addr().String() }

// Cut stops all traffic; cutting twice is once.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.whole:
		l.whole = make(chan struct{})
	default:
	}
}

// Mend lets traffic through again.
func (l *Line) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.whole:
	default:
		close(l.whole)
	}
}

// Close ends the line with its connections.
func (l *Line) Close() error {
	l.Mend()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	errs := []error{l.listener.Close()}
	for conn := range l.open {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

func (l *Line) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.serve(conn)
	}
}

func (l *Line) serve(from net.Conn) {
	defer l.keep(from)()
	l.await()
	to, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer l.keep(to)()
	var both sync.WaitGroup
	both.Go(func() { l.forward(to, from) })
	both.Go(func() { l.forward(from, to) })
	both.Wait()
}

// keep notes a connection for Close; the function that it returns closes it.
func (l *Line) keep(conn net.Conn) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[conn] = true
	if l.ended {
		_ = conn.Close()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, conn)
		_ = conn.Close()
	}
}

// forward copies until either end is closed, and closes the other's half then.
func (l *Line) forward(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.await()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			_ = to.(*net.TCPConn).CloseWrite()
		}
		if err != nil {
			return
		}
	}
}

// await returns while the line is whole.
func (l *Line) await() {
	l.mu.Lock()
	whole := l.whole
	l.mu.Unlock()
	<-whole
}
