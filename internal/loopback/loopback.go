// Package loopback gives tests and benchmarks addresses to listen on that nobody takes in between.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
)

// Below every ephemeral range and Temporal's inner services, above what systems commonly run.
const firstPort, ports = 10000, 10000

// Free returns a HOST:PORT on which nothing listens. A port that was listened on and given back can be taken again at once:
// by the next process that asks for any, or by a child that this process is just forking, which holds all open sockets until
// it has become another program. On Linux, where all of 127.0.0.0/8 is loopback, each call therefore draws a host and a port
// that nobody has touched.
func Free() (string, error) {
	if runtime.GOOS == "linux" {
		host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
		return net.JoinHostPort(host, strconv.Itoa(firstPort+rand.IntN(ports))), nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
