package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/dustin/go-humanize"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/diskuse"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// roomFile keeps what a run needed when the disk was too full for it.
const roomFile = "room.json"

// roomNeeded is room.json.
type roomNeeded struct {
	Bytes int64 `json:"bytes"`
}

// lacking is what a folder still has to take of so many bytes. What an earlier launch left there is used again or makes way:
// asked for a second time, it would keep a run off a disk that it fits on.
func lacking(size int64, folder string) int64 {
	return max(size-diskuse.Length(folder), 0)
}

// requireRoom refuses a launch that would soon fill the disk, and keeps what it needs for HasRoom.
func (l *launch) requireRoom(need int64) error {
	disk := hardware.DiskOf(string(l.folder))
	if disk.Total == 0 || disk.Free >= uint64(need) {
		return nil
	}
	l.keepNeed(need)
	return contract.Errorf(contract.CodeDiskFull, "the worker's scratch folder has %s free, this run needs %s", humanize.IBytes(disk.Free), humanize.IBytes(uint64(need))).
		Mend("free %s on the disk of %s", humanize.IBytes(uint64(need)-disk.Free), l.folder)
}

// keepNeed notes how much a run needs. Where not even that can be written, the least that any run needs is waited for.
func (l *launch) keepNeed(need int64) {
	if err := writeJSON(filepath.Join(string(l.folder), roomFile), roomNeeded{Bytes: need}); err != nil {
		l.log.Warn("what the run needs is not kept", "error", err)
	}
}

// HasRoom implements gpu.Room: a twentieth more than the run needs is free, so that it does not stop again at once.
func (s *Supervisor) HasRoom(run string) (bool, error) {
	folder, err := s.Scratch.Run(run)
	if err != nil {
		return false, err
	}
	need := roomNeeded{Bytes: s.MinFree}
	if err := readJSON(filepath.Join(string(folder), roomFile), &need); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Log.Warn("what the run needs is unreadable", "run", run, "error", err)
	}
	disk := hardware.DiskOf(s.Scratch.Root)
	if disk.Total == 0 {
		return false, fmt.Errorf("how much is free on the disk of %s cannot be told", s.Scratch.Root)
	}
	return disk.Free >= uint64(need.Bytes+need.Bytes/20), nil
}
