package runner

// ProcessOf names a process for tests that start one themselves.
func ProcessOf(pid int) Process {
	process, _ := findProcess(pid)
	process.PID = pid
	return process
}
