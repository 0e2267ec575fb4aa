package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/headers"
	"go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

const (
	databaseFile = "temporal.db"
	stampFile    = "version.json"

	// retention is how long Temporal keeps the history of a run that has ended, for operators who look into last
	// month's failure. Open runs, paused ones too, are never touched, and results live in the application's database.
	retention = 30 * 24 * time.Hour
)

// searchAttributes are set on every workflow: design §4.
var searchAttributes = map[string]enumspb.IndexedValueType{
	contract.SearchAttributeProject:   enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	contract.SearchAttributeStage:     enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	contract.SearchAttributeBaseModel: enumspb.INDEXED_VALUE_TYPE_KEYWORD,
}

// stamp says which release of Temporal a database belongs to, and which versions of its schemas it has: nothing in the file
// itself does, and Temporal neither checks nor migrates it. The release decides; visibility's schema has changed often under
// one version.
type stamp struct {
	Server     string `json:"server"`
	Schema     string `json:"schema,omitempty"`
	Visibility string `json:"visibility_schema,omitempty"`
}

// prepareDatabase makes a new database, or checks that an existing one is of this release, upgrading one of the release before.
func prepareDatabase(dir string, log *slog.Logger) error {
	database := filepath.Join(dir, databaseFile)
	_, err := os.Stat(database)
	switch {
	case err == nil:
		if err := goOnWith(dir, database, log); err != nil {
			return err
		}
	case errors.Is(err, fs.ErrNotExist):
		if err := createDatabase(dir, database); err != nil {
			return fmt.Errorf("create Temporal's database: %w", err)
		}
	default:
		return fmt.Errorf("look at Temporal's database: %w", err)
	}
	return createNamespace(database)
}

// createDatabase builds the schema in a file aside and renames it, so that a kill halfway leaves no half database.
// The stamp comes first: without a database it means nothing.
func createDatabase(dir, database string) error {
	if err := writeStamp(dir); err != nil {
		return err
	}
	aside := database + ".new"
	for _, leftover := range []string{database + "-wal", database + "-shm"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := buildSchema(aside); err != nil {
		return err
	}
	if err := syncFile(aside); err != nil {
		return err
	}
	if err := os.Chmod(aside, 0o600); err != nil {
		return err
	}
	return os.Rename(aside, database)
}

func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// createNamespace makes VibeFlow's namespace; one that exists is left as it is.
func createNamespace(database string) error {
	namespace, err := sqlite.NewNamespaceConfig(clusterName, contract.Namespace, false, searchAttributes)
	if err != nil {
		return fmt.Errorf("configure namespace: %w", err)
	}
	namespace.Detail.Config.Retention = durationpb.New(retention)
	if err := sqlite.CreateNamespaces(sqlConfig(database), namespace); err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}
	return nil
}

// addMissingAttributes registers what a namespace made by an older VibeFlow lacks.
func addMissingAttributes(ctx context.Context, c client.Client) error {
	present, err := c.OperatorService().ListSearchAttributes(ctx,
		&operatorservice.ListSearchAttributesRequest{Namespace: contract.Namespace})
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	missing := map[string]enumspb.IndexedValueType{}
	for name, kind := range searchAttributes {
		if _, ok := present.GetCustomAttributes()[name]; !ok {
			missing[name] = kind
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: contract.Namespace, SearchAttributes: missing,
	})
	if err != nil {
		return fmt.Errorf("add search attributes: %w", err)
	}
	return nil
}

func writeStamp(dir string) error {
	content, err := json.Marshal(stamp{headers.ServerVersion, sqlite.Version, sqlite.VisibilityVersion})
	if err != nil {
		return err
	}
	return datadir.WriteFile(filepath.Join(dir, stampFile), append(content, '\n'))
}

// goOnWith upgrades a database of an older release, and refuses one that this release cannot go on with.
func goOnWith(dir, database string, log *slog.Logger) error {
	content, err := os.ReadFile(filepath.Join(dir, stampFile))
	var found stamp
	if err == nil {
		err = json.Unmarshal(content, &found)
	}
	if err != nil {
		return contract.Errorf(contract.CodePrerequisite, "which Temporal wrote %s is unknown: %w", database, err).
			Mend("restore %s from a backup", filepath.Join(dir, stampFile))
	}
	if found.Server == headers.ServerVersion {
		return nil
	}
	if err := upgrade(dir, database, found.Server); err != nil {
		return err
	}
	log.Info("Temporal's database was upgraded", "from", found.Server, "to", headers.ServerVersion, "kept", database+beforeInfix+headers.ServerVersion)
	return nil
}

// Usable refuses (CodePrerequisite) a backup whose database of Temporal this release could not go on with.
func Usable(release string) error { return refuseRelease("the backup's temporal.db", release) }
