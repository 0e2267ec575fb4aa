// Package loopback gives tests addresses to listen on that nobody takes in between.
package loopback

import (
	"crypto/rand"
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// FreeAddress returns a HOST:PORT on which nothing listens. A port that was just given back may be handed to the next
// process that asks for any; on Linux, where all of 127.0.0.0/8 is loopback, each call therefore gets a host of its own.
func FreeAddress(t testing.TB) string {
	t.Helper()
	host := "127.0.0.1"
	if runtime.GOOS == "linux" {
		var b [3]byte
		_, _ = rand.Read(b[:]) // never fails since Go 1.24
		host = fmt.Sprintf("127.%d.%d.%d", 1+b[0]%254, b[1], 1+b[2]%254)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Close()) }()
	return listener.Addr().String()
}
