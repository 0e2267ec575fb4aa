//go:build unix

package chaos

// Target is what is killed, or otherwise taken away.
type Target string

// Targets that are killed. A worker's runner, its warm parent and its engines are detached processes of their own.
const (
	Server     Target = "server"
	Temporal   Target = "temporal"
	Worker     Target = "worker"
	Runner     Target = "runner"
	WarmParent Target = "warm parent"
	Engine     Target = "engine"
	Everything Target = "everything" // `up`, its processes and all that is detached
)

// Targets that nobody kills. The worker is then on a machine of its own, without which `up` runs; but for Sleep.
const (
	Network Target = "network"            // cut for longer than the heartbeat timeout, and mended; no other worker is there
	Machine Target = "machine"            // gone for good, with its disk; another one is there
	Late    Target = "machine, back late" // cut off until another one has taken over
	Sleep   Target = "sleep"              // all processes stand still for longer than the heartbeat timeout
)

// Stage is what the run is at when it happens.
type Stage string

// Stages, in a run's order.
const (
	Ingest     Stage = "ingest"
	Epoch1     Stage = "train, epoch 1"
	Epoch2     Stage = "train, epoch 2"
	Checkpoint Stage = "saving a checkpoint"
	Paused     Stage = "paused"
	Evaluate   Stage = "evaluate"
	Export     Stage = "export"
	Deployed   Stage = "deployed"
)

var (
	targets = []Target{Server, Temporal, Worker, Runner, WarmParent, Engine, Everything, Network, Machine, Late, Sleep}
	stages  = []Stage{Ingest, Epoch1, Epoch2, Checkpoint, Paused, Evaluate, Export, Deployed}
)

// LeftOut is a cell that makes no sense.
type LeftOut struct {
	Process Target `json:"process"`
	Stage   Stage  `json:"stage"`
	Why     string `json:"why"`
}

// Matrix is every cell there is, and those that are left out.
func Matrix() (cells []Cell, leftOut []LeftOut) {
	for _, stage := range stages {
		for _, target := range targets {
			if why := senseless(target, stage); why != "" {
				leftOut = append(leftOut, LeftOut{target, stage, why})
				continue
			}
			cells = append(cells, Cell{Process: target, Stage: stage})
		}
	}
	return cells, leftOut
}

// Names are those of all targets and stages.
func Names() (names []string) {
	for _, target := range targets {
		names = append(names, string(target))
	}
	for _, stage := range stages {
		names = append(names, string(stage))
	}
	return names
}

// elsewhere reports whether the worker is to be on another machine.
func (t Target) elsewhere() bool { return t == Network || t == Machine || t == Late }

func senseless(target Target, stage Stage) string {
	switch {
	case target == Engine && stage != Deployed:
		return "no engine runs"
	case stage == Ingest && (target == Worker || target == Runner || target == WarmParent || target.elsewhere()):
		return "datasets are read by the server"
	case stage == Deployed && target.elsewhere():
		return "a model is served beside the server"
	case (target == Network || target == Late) && (stage == Epoch2 || stage == Checkpoint):
		return "it outlasts both epochs: see epoch 1"
	case target == Network && stage == Paused:
		return "a paused run has nothing on a worker"
	case target == Late && stage != Epoch1:
		return "it is over before the machine is back"
	case target == Runner && stage == Paused:
		return "a paused run has no runner"
	case target == Runner && stage == Deployed:
		return "an engine serves, no runner"
	}
	return ""
}
