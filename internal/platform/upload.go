//go:build unix

package platform

import (
	"bytes"
	"context"
	"fmt"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

// Upload ingests a file's content and returns the dataset once it is ready.
func (p *Platform) Upload(ctx context.Context, name string, content []byte) (apigen.Dataset, error) {
	ds, err := p.Client.UploadDatasetFrom(ctx, bytes.NewReader(content), name, apiclient.Upload{})
	if err != nil {
		return ds, err
	}
	path := "/api/datasets/" + ds.ID
	if err := p.Client.Follow(ctx, path+"/events", 0, func(contract.Event) error { return nil }, nil); err != nil {
		return ds, err
	}
	if ds, err = apiclient.Get[apigen.Dataset](ctx, p.Client, path, nil); err != nil {
		return ds, err
	}
	if contract.Status(ds.Status) != contract.StatusReady {
		return ds, fmt.Errorf("%s was not read: %s", name, ds.Error.Message)
	}
	return ds, nil
}
