package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// stamp says which release of Temporal a database belongs to: nothing in the file itself does, and Temporal neither
// checks nor migrates it.
type stamp struct {
	Server string `json:"server"`
}

// prepareDatabase makes a new database, or checks that an existing one is of a release that this one can go on with.
func prepareDatabase(dir string) error {
	database := filepath.Join(dir, databaseFile)
	_, err := os.Stat(database)
	switch {
	case err == nil:
		if err := checkStamp(dir); err != nil {
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
	for _, leftover := range []string{aside, aside + "-wal", aside + "-shm", aside + "-journal", database + "-wal", database + "-shm"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	config := sqlConfig(aside)
	config.ConnectAttributes["journal_mode"] = "delete" // one file, complete: nothing else to rename
	config.ConnectAttributes["synchronous"] = "0"       // worth nothing until it has its name
	if err := sqlite.SetupSchema(config); err != nil {
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
	content, err := json.Marshal(stamp{Server: headers.ServerVersion})
	if err != nil {
		return err
	}
	return datadir.WriteFile(filepath.Join(dir, stampFile), append(content, '\n'))
}

// checkStamp refuses a database of another release, except one of an earlier patch of the same minor release, which
// has the same schema by Temporal's release policy.
func checkStamp(dir string) error {
	content, err := os.ReadFile(filepath.Join(dir, stampFile))
	var found stamp
	if err == nil {
		err = json.Unmarshal(content, &found)
	}
	if err != nil {
		return contract.Errorf(contract.CodePrerequisite, "which Temporal wrote %s is unknown: %w",
			filepath.Join(dir, databaseFile), err).
			Mend("restore %s from a backup", filepath.Join(dir, stampFile))
	}
	switch {
	case found.Server == headers.ServerVersion:
		return nil
	case laterPatch(found.Server, headers.ServerVersion):
		return writeStamp(dir)
	}
	return contract.Errorf(contract.CodePrerequisite,
		"%s was written by Temporal %s, and this VibeFlow carries Temporal %s, which cannot read it",
		filepath.Join(dir, databaseFile), found.Server, headers.ServerVersion).
		Mend("start the VibeFlow that carries Temporal %s and let its runs finish, or restore a backup; "+
			"or move the folder %s away and begin with an empty Temporal, giving up the runs under way", found.Server, dir)
}

// laterPatch tells whether to is a later patch of the same minor release as from.
func laterPatch(from, to string) bool {
	fromMinor, fromPatch, ok := splitPatch(from)
	toMinor, toPatch, okTo := splitPatch(to)
	return ok && okTo && fromMinor == toMinor && toPatch > fromPatch
}

func splitPatch(version string) (minor string, patch int, ok bool) {
	dot := strings.LastIndexByte(version, '.')
	if dot < 0 || strings.Count(version, ".") != 2 {
		return "", 0, false
	}
	patch, err := strconv.Atoi(version[dot+1:])
	return version[:dot], patch, err == nil
}
