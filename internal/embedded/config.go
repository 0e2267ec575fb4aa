package embedded

import (
	"time"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"

	files "github.com/vibeflow/vibeflow/internal/sqlite" // Temporal's plugin has the name
)

const (
	loopback    = "127.0.0.1"
	clusterName = "active"
	storeName   = "sqlite"
)

// services are Temporal's own processes, all in this one. The internal frontend serves Temporal's system workers,
// which carry no token: it takes only callers with the in-memory certificate.
var services = []string{
	string(primitives.FrontendService),
	string(primitives.InternalFrontendService),
	string(primitives.HistoryService),
	string(primitives.MatchingService),
	string(primitives.WorkerService),
}

// serverConfig is Temporal's static configuration: one SQLite file, one history shard, loopback only, no metrics
// listener, no HTTP API, no archival.
func serverConfig(database string, ports ports, recording bool) *config.Config {
	return &config.Config{
		Global: config.Global{Membership: config.Membership{
			MaxJoinDuration:  30 * time.Second,
			BroadcastAddress: loopback,
		}},
		Persistence: config.Persistence{
			DefaultStore:     storeName,
			VisibilityStore:  storeName,
			NumHistoryShards: 1,
			DataStores:       map[string]config.DataStore{storeName: {SQL: sqlConfig(database)}},
		},
		ClusterMetadata: &cluster.Config{
			EnableGlobalNamespace:    recording, // without it histories cannot be imported
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{clusterName: {
				Enabled:                true,
				InitialFailoverVersion: 1,
				RPCAddress:             ports.frontendAddress(),
			}},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            serviceConfigs(ports),
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
	}
}

func serviceConfigs(ports ports) map[string]config.Service {
	all := map[string]config.Service{}
	for _, name := range services {
		all[name] = config.Service{RPC: config.RPC{GRPCPort: ports.of(name), BindOnIP: loopback}}
	}
	return all
}

// sqlConfig opens the file with the settings that were measured (1,500 short workflows, 50 at a time): a write-ahead
// log makes 62 of them a second where the default journal makes 7.5 and fails some, and full synchronisation costs
// nothing that can be measured. More than one connection makes internal errors.
func sqlConfig(database string) *config.SQL {
	return &config.SQL{
		PluginName:   sqlite.PluginName,
		DatabaseName: files.Escape(database), // it becomes a URI
		MaxConns:     1,
		MaxIdleConns: 1,
		ConnectAttributes: map[string]string{
			"mode":         "rwc",
			"journal_mode": "wal",
			"synchronous":  "2",
			"busy_timeout": "10000", // milliseconds
		},
	}
}

// dynamicConfig tunes the server for one machine and few, long workflows.
func dynamicConfig(recording bool) dynamicconfig.StaticClient {
	settings := dynamicconfig.StaticClient{
		// One partition a task queue: with one node more of them only delay a lone task (p99 3.0 s → 0.9 s).
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,

		// The queues' poll rates are meant for clusters; raised, a lone signal answers in 7 ms rather than 47.
		dynamicconfig.TransferProcessorMaxPollRPS.Key():   1000,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():      1000,
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): 200,
		dynamicconfig.OutboundProcessorMaxPollRPS.Key():   1000,

		// A cancelled activity hears of it at once (13–28 ms) rather than with its next heartbeat: pausing depends on it.
		dynamicconfig.EnableCancelActivityWorkerCommand.Key(): true,
		dynamicconfig.WorkerCommandsEnabled.Key():             true,

		dynamicconfig.EnableServerVersionCheck.Key():                     false, // it phones home
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 100,
		dynamicconfig.HistoryCacheHostLevelMaxSize.Key():                 4096,
	}
	if recording {
		settings[dynamicconfig.HistoryCountSuggestContinueAsNew.Key()] = 40 // rather than 4,096
	}
	return settings
}
