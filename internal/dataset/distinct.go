package dataset

// hashSet is a set of 64-bit hashes by open addressing: eight bytes an entry and no pointers.
type hashSet struct {
	slots []uint64 // 0 is empty
	count int
}

func newHashSet() *hashSet { return &hashSet{slots: make([]uint64, 1024)} }

// add inserts h and says whether it was new.
func (s *hashSet) add(h uint64) bool {
	if h == 0 {
		h = 1
	}
	if s.count*4 >= len(s.slots)*3 {
		s.rebuild(len(s.slots)*2, func(uint64) bool { return true })
	}
	i := s.find(h)
	if s.slots[i] == h {
		return false
	}
	s.slots[i] = h
	s.count++
	return true
}

func (s *hashSet) has(h uint64) bool {
	if h == 0 {
		h = 1
	}
	return s.slots[s.find(h)] == h
}

// find returns the slot of h, or the empty one where it would go.
func (s *hashSet) find(h uint64) int {
	mask := len(s.slots) - 1
	i := int(h>>20) & mask // not the low bits: sampling makes those all alike
	for s.slots[i] != 0 && s.slots[i] != h {
		i = (i + 1) & mask
	}
	return i
}

func (s *hashSet) rebuild(slots int, keep func(uint64) bool) {
	old := s.slots
	s.slots, s.count = make([]uint64, slots), 0
	for _, h := range old {
		if h != 0 && keep(h) {
			s.slots[s.find(h)] = h
			s.count++
		}
	}
}

// maxDistinct bounds the memory of a distinctCounter to 32 MiB (48 while it grows).
const maxDistinct = 3 << 20

// distinctCounter counts distinct hashes, exactly up to maxDistinct and beyond that by adaptive sampling (Wegman): it
// keeps only hashes that end in `level` zero bits and scales up. With over a million of them kept, the error is about 0.1 %.
type distinctCounter struct {
	set   *hashSet
	level uint
	most  int
}

func newDistinctCounter() *distinctCounter {
	return &distinctCounter{set: newHashSet(), most: maxDistinct}
}

func (c *distinctCounter) add(h uint64) {
	if !c.sampled(h) {
		return
	}
	c.set.add(h)
	for c.set.count > c.most {
		c.level++
		c.set.rebuild(len(c.set.slots), c.sampled)
	}
}

func (c *distinctCounter) sampled(h uint64) bool { return h&(1<<c.level-1) == 0 }

func (c *distinctCounter) estimate() (distinct int64, approximate bool) {
	return int64(c.set.count) << c.level, c.level > 0
}
