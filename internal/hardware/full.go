package hardware

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/vibeflow/vibeflow/contract"
)

// DiskError types what a disk says of something that was to be done: disk_full with the disk's name, and of any other error
// what was to be done. Errors that are typed already pass, and so does nil. The text of a full disk names no path: it may
// reach people who are not to see one.
func DiskError(disk, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case contract.CodeOf(err) != contract.CodeInternal, errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return contract.Errorf(contract.CodeDiskFull, "%s is full: cannot %s: %w", disk, doing, syscall.ENOSPC).Mend("free some space on it")
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}
