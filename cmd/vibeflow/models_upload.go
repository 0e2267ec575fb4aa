package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/modelfolder"
)

func (a *app) modelsUpload() *cobra.Command {
	var as apiclient.Upload
	cmd := &cobra.Command{
		Use: "upload DIR|ARCHIVE", Short: "Upload a base: a folder of safetensors, or a .zip, .tar or .tar.gz of it", Args: oneArg("folder or archive"),
		RunE: func(cmd *cobra.Command, args []string) error {
			paths, left, err := modelFiles(args[0])
			if err != nil {
				return err
			}
			if len(left) > 0 {
				a.note("not sent, for a model needs none of it: %s", strings.Join(left, ", "))
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if as.Name == "" {
				as.Name = nameOf(args[0])
			}
			bar := a.line()
			m, err := c.UploadModel(cmd.Context(), paths, as, func(sent, total int64) {
				bar.update("uploading", float64(sent), float64(total), humanize.IBytes(uint64(sent)))
			})
			if err != nil {
				return err
			}
			bar.done("upload", humanize.IBytes(uint64(m.Size))+" of weights")
			return a.print(m, func(w io.Writer) { printModel(w, m) })
		},
	}
	cmd.Flags().StringVar(&as.Name, "name", "", "name (default: the folder's or the archive's)")
	return cmd
}

// modelFiles are the files to send: an archive as it is, or those of a folder that a model needs. What no runner would
// load is refused before anything is sent.
func modelFiles(path string) (send, left []string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, apiclient.CannotOpen(path, err)
	}
	if !info.IsDir() {
		if modelfolder.KindOf(path) == modelfolder.None {
			return nil, nil, contract.Errorf(contract.CodeInvalid, "%s is neither a folder nor a .zip, .tar or .tar.gz", path).On("file").
				Mend("name the folder that holds the model's config.json and safetensors")
		}
		return []string{path}, nil, nil
	}
	if err := catalog.CheckFolder(path); err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, nil, apiclient.CannotOpen(path, err)
	}
	for _, entry := range entries {
		if modelfolder.Needed(entry.Name()) && !entry.IsDir() {
			send = append(send, filepath.Join(path, entry.Name()))
		} else {
			left = append(left, entry.Name())
		}
	}
	return send, left, nil
}

func nameOf(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	name := filepath.Base(path)
	for _, packed := range []string{".zip", ".tgz", ".gz", ".tar"} {
		name = strings.TrimSuffix(name, packed)
	}
	return name
}
