//go:build !unix

package hardware

// DiskOf knows no sizes on this system.
func DiskOf(path string) Disk { return Disk{Path: path} }
