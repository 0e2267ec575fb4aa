package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"go.temporal.io/server/common/primitives"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

const (
	defaultFrontendPort = 7233
	defaultUIPort       = 8233
	portsFile           = "ports.json"

	// Ports that we choose lie below every system's range for outgoing connections (Linux: from 32768). Inside it, a
	// client that dials the port while the server is down can be given that very port as its own, connect to itself
	// and keep the server out.
	lowestPort  = 20000
	highestPort = 29999
)

// ports are where the frontend and the UI listen, which others know and which therefore stay the same from start to
// start, and where Temporal's inner services do, which nobody else knows.
type ports struct {
	Frontend int `json:"frontend"`
	UI       int `json:"ui"`
	inner    map[string]int
}

func (p ports) frontendAddress() string {
	return net.JoinHostPort(loopback, strconv.Itoa(p.Frontend))
}

func (p ports) uiAddress() string { return net.JoinHostPort(loopback, strconv.Itoa(p.UI)) }

func (p ports) of(service string) int {
	if service == string(primitives.FrontendService) {
		return p.Frontend
	}
	return p.inner[service]
}

// choosePorts finds the ports of this start and remembers those that others know. Temporal ends the process at a
// busy port, so every one is tried here first, all at the same time.
func choosePorts(dir string, options Options) (ports, error) {
	var try listeners
	defer try.close()
	last, usual := readPorts(dir), ports{Frontend: defaultFrontendPort, UI: defaultUIPort}
	if options.AnyPorts {
		usual = ports{}
	}
	chosen := ports{inner: map[string]int{}}
	var err error
	if chosen.Frontend, err = try.take("Temporal's frontend", "--port", options.FrontendPort, last.Frontend, usual.Frontend); err != nil {
		return ports{}, err
	}
	if chosen.UI, err = try.take("Temporal's UI", "--ui-port", options.UIPort, last.UI, usual.UI); err != nil {
		return ports{}, err
	}
	for _, name := range services {
		if name == string(primitives.FrontendService) {
			continue
		}
		if chosen.inner[name], err = try.any(); err != nil {
			return ports{}, err
		}
	}
	return chosen, writePorts(dir, chosen)
}

// listeners holds ports so that none is chosen twice.
type listeners []net.Listener

// take returns the wanted port or refuses; if none is wanted, the first free one of the others, else any.
func (l *listeners) take(what, flag string, wanted int, others ...int) (int, error) {
	if wanted != 0 {
		if err := l.listen(wanted); err != nil {
			return 0, contract.Errorf(contract.CodeInUse, "port %d for %s is taken: %w", wanted, what, err).
				On(flag).Mend("stop what listens on it, or give another port with %s", flag)
		}
		return wanted, nil
	}
	for _, port := range others {
		if port != 0 && l.listen(port) == nil {
			return port, nil
		}
	}
	return l.any()
}

func (l *listeners) any() (int, error) {
	for range 200 {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if l.listen(port) == nil {
			return port, nil
		}
	}
	return 0, contract.Errorf(contract.CodeInUse, "no free port was found between %d and %d on %s",
		lowestPort, highestPort, loopback).Mend("stop some of the servers on this machine")
}

func (l *listeners) listen(port int) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err == nil {
		*l = append(*l, listener)
	}
	return err
}

func (l *listeners) close() {
	for _, listener := range *l {
		_ = listener.Close()
	}
}

// readPorts returns the ports of the last start; what cannot be read is as good as none.
func readPorts(dir string) (last ports) {
	content, err := os.ReadFile(filepath.Join(dir, portsFile))
	if errors.Is(err, fs.ErrNotExist) || json.Unmarshal(content, &last) != nil {
		return ports{}
	}
	return last
}

func writePorts(dir string, chosen ports) error {
	content, err := json.Marshal(chosen)
	if err != nil {
		return fmt.Errorf("encode ports: %w", err)
	}
	if err := datadir.WriteFile(filepath.Join(dir, portsFile), append(content, '\n')); err != nil {
		return fmt.Errorf("remember Temporal's ports: %w", err)
	}
	return nil
}
