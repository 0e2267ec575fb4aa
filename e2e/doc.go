// Package e2e tests the binary as a user has it: real processes, a real Temporal, a real runner, a tiny model. Its tests
// need bin/vibeflow and the runner's environment, and run with `go tool task test:e2e` (build tag e2e).
package e2e
