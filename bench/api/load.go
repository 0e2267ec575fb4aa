//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vibeflow/vibeflow/internal/histogram"
)

// warmUp is not counted.
const warmUp = time.Second

// target is what is asked, by how many at the same time, and for how long.
type target struct {
	address, path, token string
	connections          int
	long                 time.Duration
}

// load is how it was answered; times in milliseconds.
type load struct{ perSecond, p50, p99 float64 }

// measure keeps each connection busy with one request after the other.
func measure(ctx context.Context, t target) (load, error) {
	counted := time.Now().Add(warmUp)
	until := counted.Add(t.long)
	var mu sync.Mutex
	var all histogram.Histogram // microseconds
	group, ctx := errgroup.WithContext(ctx)
	for range t.connections {
		group.Go(func() error {
			own, err := t.connection(ctx, counted, until)
			mu.Lock()
			defer mu.Unlock()
			all.Merge(own)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return load{}, err
	}
	return load{perSecond: float64(all.Count()) / t.long.Seconds(), p50: float64(all.Quantile(.5)) / 1000, p99: float64(all.Quantile(.99)) / 1000}, nil
}

// connection is one client. It reads HTTP by hand: a client that costs more than the server would be what is measured.
func (t target) connection(ctx context.Context, counted, until time.Time) (times histogram.Histogram, err error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return times, err
	}
	defer func() { _ = conn.Close() }()
	request := []byte("GET " + t.path + " HTTP/1.1\r\nHost: " + t.address + "\r\nAuthorization: Bearer " + t.token + "\r\nAccept: */*\r\n\r\n")
	answers := bufio.NewReaderSize(conn, 64<<10)
	for ctx.Err() == nil {
		began := time.Now()
		if began.After(until) {
			return times, nil
		}
		if _, err := conn.Write(request); err != nil {
			return times, err
		}
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			return times, err
		}
		if res.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(res.Body, 500))
			return times, fmt.Errorf("%s was answered %s: %s", t.path, res.Status, body)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return times, err
		}
		if ended := time.Now(); ended.After(counted) && ended.Before(until) { // also one that takes longer than the warm-up
			times.Add(ended.Sub(began).Microseconds())
		}
	}
	return times, ctx.Err()
}
