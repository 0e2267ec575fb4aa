package artifact

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// fewWitnesses are enough: the bucket is taken for another one only where all of them are gone, and at least two.
const fewWitnesses = 8

// witnesses are some objects that were in the bucket, the last ones first. A folder that has the mark and none of them is
// not the bucket: a start before its disk was mounted leaves such a one in the mount point.
type witnesses struct {
	mu  sync.Mutex
	ids []string
}

func (w *witnesses) saw(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ids) > 0 && w.ids[0] == id {
		return
	}
	others := slices.DeleteFunc(w.ids, func(seen string) bool { return seen == id })
	w.ids = append([]string{id}, others[:min(len(others), fewWitnesses-1)]...)
}

func (w *witnesses) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids = slices.DeleteFunc(w.ids, func(seen string) bool { return seen == id })
}

// look fails where none of them is in the bucket any more, or that cannot be told. One alone says nothing: it may be the
// one that was lost.
func (w *witnesses) look(ctx context.Context, exists func(context.Context, string) (bool, error)) error {
	w.mu.Lock()
	ids := slices.Clone(w.ids)
	w.mu.Unlock()
	for _, id := range ids {
		if there, err := exists(ctx, id); there || err != nil {
			return err
		}
	}
	if len(ids) > 1 {
		return errors.New("it has the mark, and nothing that was in it")
	}
	return nil
}
