package dataset

import (
	"container/heap"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// Split says how many rows are held out for evaluation. At most one of the first three is set; none of them means: by the
// file's own "split" column if it marks both training and evaluation rows, else by DefaultEvalRows.
type Split struct {
	EvalRows  int64   // exactly so many
	EvalShare float64 // 0 … 1, rounded down, at least one row
	None      bool    // hold out nothing
	Seed      int64   // chooses which rows
}

// MaxEvalRows bounds the rows held out: choosing them needs 16 bytes each.
const MaxEvalRows = 100_000

// How a split was decided.
const (
	splitByDefault = "default"
	splitByRows    = "rows"
	splitByShare   = "share"
	splitByColumn  = "column"
	splitByNone    = "none"
)

// DefaultEvalRows is how many of n rows are held out unless the user says otherwise: 10 % of at least 1,000, up to 500;
// 100 of at least 250, because a verdict needs 100; a fifth of fewer.
func DefaultEvalRows(n int64) int64 {
	switch {
	case n >= 1000:
		return min(n/10, 500)
	case n >= 250:
		return 100
	default:
		return max(1, n/5)
	}
}

func (s Split) validate() error {
	set := 0
	for _, is := range []bool{s.EvalRows != 0, s.EvalShare != 0, s.None} {
		if is {
			set++
		}
	}
	switch {
	case set > 1:
		return contract.Errorf(contract.CodeInvalid, "what is held out is said twice").On("eval_rows").Mend("give one of eval_rows, eval_share and no_eval")
	case s.EvalRows < 0 || s.EvalRows > MaxEvalRows:
		return contract.Errorf(contract.CodeInvalid, "eval_rows is %d", s.EvalRows).On("eval_rows").Mend("choose 1 to %d", MaxEvalRows)
	case s.EvalShare != 0 && !(s.EvalShare > 0 && s.EvalShare < 1):
		return contract.Errorf(contract.CodeInvalid, "eval_share is %v", s.EvalShare).On("eval_share").Mend("choose a share between 0 and 1, for example 0.1")
	}
	return nil
}

func (s Split) isDefault() bool { return s.EvalRows == 0 && s.EvalShare == 0 && !s.None }

// evalRows is how many of n rows are held out, and what decided.
func (s Split) evalRows(n int64) (int64, string, error) {
	switch {
	case n < MinValidRows && !s.None:
		return 0, "", contract.Errorf(contract.CodeBadData, "%d row(s) are left after filtering", n).
			Mend("training needs at least %d: loosen the filters or bring more rows", MinValidRows)
	case s.None:
		return 0, splitByNone, nil
	case s.EvalRows >= n:
		return 0, "", contract.Errorf(contract.CodeInvalid, "eval_rows is %d, but only %d rows are left after filtering", s.EvalRows, n).
			On("eval_rows").Mend("hold out fewer rows: something must be left to train on")
	case s.EvalRows > 0:
		return s.EvalRows, splitByRows, nil
	case s.EvalShare > 0:
		return min(max(1, int64(s.EvalShare*float64(n))), n-1, MaxEvalRows), splitByShare, nil
	default:
		return DefaultEvalRows(n), splitByDefault, nil
	}
}

// rank is where an example stands in the seeded order that decides which rows are held out: first by a seeded mix of what
// it says, then by its place. Rows that say the same stand together, and a row keeps its rank when others come or go.
type rank struct {
	order uint64
	index int64
}

func (r rank) before(other rank) bool {
	return r.order < other.order || r.order == other.order && r.index < other.index
}

// seeded mixes hash and seed (the finaliser of SplitMix64).
func seeded(hash uint64, seed int64) uint64 {
	z := hash + 0x9e3779b97f4a7c15*(uint64(seed)+1)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// picker keeps the lowest ranks seen: as many as the split can want, whatever the number of rows turns out to be.
type picker struct {
	split       Split
	most        int
	lowest      rankHeap
	held, train int64 // rows that the file's own column marks
}

func newPicker(split Split) *picker {
	p := &picker{split: split, most: MaxEvalRows}
	switch {
	case split.None:
		p.most = 0
	case split.EvalRows > 0:
		p.most = int(split.EvalRows)
	case split.EvalShare == 0:
		p.most = 500
	}
	return p
}

func (p *picker) add(c candidate) {
	if c.held {
		p.held++
	} else {
		p.train++
	}
	r := rank{seeded(c.hash, p.split.Seed), c.index}
	switch {
	case len(p.lowest) < p.most:
		heap.Push(&p.lowest, r)
	case p.most > 0 && r.before(p.lowest[0]):
		p.lowest[0] = r
		heap.Fix(&p.lowest, 0)
	}
}

// plan settles the split for the n candidates seen.
func (p *picker) plan(n int64) (*splitPlan, error) {
	rows, by, err := p.split.evalRows(n)
	if err != nil {
		return nil, err
	}
	if p.split.isDefault() && p.held > 0 && p.train > 0 {
		return &splitPlan{by: splitByColumn}, nil
	}
	plan := &splitPlan{by: by, seed: p.split.Seed, none: rows == 0}
	for int64(len(p.lowest)) > rows {
		heap.Pop(&p.lowest)
	}
	if rows > 0 {
		plan.last = p.lowest[0]
	}
	return plan, nil
}

// splitPlan decides for each candidate of the second pass.
type splitPlan struct {
	by   string
	seed int64
	none bool
	last rank // the highest rank that is held out
}

func (s *splitPlan) holdsOut(c candidate) bool {
	if s.by == splitByColumn {
		return c.held
	}
	return !s.none && !s.last.before(rank{seeded(c.hash, s.seed), c.index})
}

// heldByColumn reads the file's own split column: rows that it does not set aside are for training.
func heldByColumn(v *Value) bool {
	if v.absent() || v.Kind != String {
		return false
	}
	switch strings.ToLower(strings.TrimSpace(string(v.Text))) {
	case "test", "validation", "valid", "val", "dev", "eval", "evaluation":
		return true
	}
	return false
}

// rankHeap has the highest rank on top.
type rankHeap []rank

func (h rankHeap) Len() int           { return len(h) }
func (h rankHeap) Less(i, j int) bool { return h[j].before(h[i]) }
func (h rankHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *rankHeap) Push(x any)        { *h = append(*h, x.(rank)) }
func (h *rankHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
