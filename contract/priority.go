package contract

// Priority orders the waiting runs of one project. It gives a project no more turns than others have: see internal/line.
type Priority string

// The priorities. The empty one is PriorityNormal.
const (
	PriorityLow    Priority = "low"
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
)

// Rank orders priorities: the higher goes first.
func (p Priority) Rank() int {
	switch p {
	case PriorityLow:
		return -1
	case PriorityHigh:
		return 1
	default:
		return 0
	}
}
