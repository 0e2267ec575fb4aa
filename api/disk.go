package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/diskuse"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	// diskFresh is for how long a measurement is told again: walking the folders is work for the disk.
	diskFresh = time.Minute
	// diskPatience bounds a measurement.
	diskPatience = time.Minute
)

// diskMeter measures what VibeFlow takes on this machine's disk, one measurement at a time.
type diskMeter struct {
	mu   sync.Mutex
	last apigen.DiskUse
}

// GetDisk tells what takes the room.
func (s *Server) GetDisk(c *echo.Context) error {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	if time.Since(s.disk.last.MeasuredAt) > diskFresh {
		// Whoever asked may leave: the next one is answered with what this walk finds.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), diskPatience)
		defer cancel()
		measured, err := s.measureDisk(ctx)
		if err != nil {
			return err
		}
		s.disk.last = measured
	}
	return c.JSON(http.StatusOK, s.disk.last)
}

func (s *Server) measureDisk(ctx ctx) (apigen.DiskUse, error) {
	sums, err := diskuse.Measure(ctx, s.DataRoot, diskKind)
	if err != nil {
		return apigen.DiskUse{}, err
	}
	if s.CacheRoot != "" {
		cached, err := diskuse.Measure(ctx, s.CacheRoot, func(string) string { return diskCaches })
		if err != nil {
			return apigen.DiskUse{}, err
		}
		addSum(sums, diskCaches, cached[diskCaches])
	}
	stored, garbage, err := s.Store.StoredByKind(ctx)
	if err != nil {
		return apigen.DiskUse{}, err
	}
	attribute(sums, stored)
	volume := hardware.DiskOf(s.DataRoot)
	use := apigen.DiskUse{MeasuredAt: time.Now().UTC(), Kinds: []apigen.DiskKind{}, Collectable: apigen.DiskSum{Files: garbage.Objects, Bytes: garbage.Bytes},
		Volume: apigen.DiskVolume{Path: s.DataRoot, TotalBytes: int64(volume.Total), FreeBytes: int64(volume.Free)}} //nolint:gosec // no disk is that large
	for kind, sum := range sums {
		use.Kinds = append(use.Kinds, apigen.DiskKind{Kind: apigen.DiskKindKind(kind), Files: sum.Files, Bytes: sum.Bytes})
		use.TotalBytes += sum.Bytes
	}
	slices.SortFunc(use.Kinds, func(a, b apigen.DiskKind) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Kind, b.Kind))
	})
	return use, nil
}

// The kinds that the folders tell apart; stored objects have those of the store.
const (
	diskStored    = "stored"
	diskDatabases = "databases"
	diskLogs      = "logs"
	diskCaches    = "caches"
	diskRuns      = "runs"
	diskOther     = "other"
)

// diskKind is the kind of a file of the data folder: see the layout in docs/overview.md.
func diskKind(path string) string {
	folder, rest, _ := strings.Cut(path, "/")
	switch {
	case folder == "blobs":
		return diskStored
	case folder == "temporal" || strings.HasPrefix(path, "app.db"):
		return diskDatabases
	case folder == "logs":
		return diskLogs
	case folder == "worker":
		if _, scratch, _ := strings.Cut(rest, "/"); strings.HasPrefix(scratch, "models/") {
			return diskCaches
		}
		return diskRuns
	default:
		return diskOther
	}
}

// attribute shares what lies in the bucket out among the kinds of stored objects; what encryption adds, and what no row
// names, is other.
func attribute(sums map[string]diskuse.Sum, stored map[string]store.Stored) {
	rest := sums[diskStored]
	delete(sums, diskStored)
	for kind, s := range stored {
		addSum(sums, kind, diskuse.Sum{Files: s.Objects, Bytes: s.Bytes})
		rest.Files -= s.Objects
		rest.Bytes -= s.Bytes
	}
	addSum(sums, diskOther, diskuse.Sum{Files: max(0, rest.Files), Bytes: max(0, rest.Bytes)})
}

func addSum(sums map[string]diskuse.Sum, kind string, more diskuse.Sum) {
	sum := sums[kind]
	sum.Add(more)
	sums[kind] = sum
}
