package dataset

import (
	"context"
	"errors"

	"github.com/vibeflow/vibeflow/contract"
)

// MaxPreviewRows bounds a page.
const MaxPreviewRows = 200

// PreviewOptions choose a page of rows.
type PreviewOptions struct {
	Mapping Mapping
	Offset  int64 // rows to skip
	Limit   int   // 1 … MaxPreviewRows
}

// Preview returns rows as they stand and as they will be trained on, texts cut to 2,000 bytes. It reads the file from
// the start to the end of the page, so a page far down takes as long as an inspection. A page past the end is empty.
func (f *File) Preview(ctx context.Context, options PreviewOptions) ([]Preview, error) {
	if options.Offset < 0 {
		return nil, contract.Errorf(contract.CodeInvalid, "the offset is negative").On("offset")
	}
	if options.Limit < 1 || options.Limit > MaxPreviewRows {
		return nil, contract.Errorf(contract.CodeInvalid, "the limit is %d", options.Limit).On("limit").
			Mend("ask for 1 to %d rows", MaxPreviewRows)
	}
	return decoded(ctx, f, func() ([]Preview, error) { return f.page(ctx, options) })
}

func (f *File) page(ctx context.Context, options PreviewOptions) ([]Preview, error) {
	l, err := f.layout(ctx, options.Mapping)
	if err != nil {
		return nil, err
	}
	n := newNormaliser(l)
	page := []Preview{}
	err = f.each(ctx, Position{Pass: 1, Passes: 1}, nil, func(row *Row) error {
		if row.Number <= options.Offset {
			return nil
		}
		x, issues := n.normalise(row)
		page = append(page, previewOf(row, x, issues))
		if len(page) == options.Limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return page, nil
}
