//go:build !darwin

package hardware

func systemCPU() (model string, flags []string) { return "", nil }

func systemMemory() Memory { return Memory{} }
