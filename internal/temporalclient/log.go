package temporalclient

import (
	"log/slog"

	"go.temporal.io/sdk/log"
)

// sdkLogger writes the SDK's log. An activity that failed is not this process's error: the workflow decides what it
// means and records it for the user, who may simply have uploaded a picture. Neither is a Temporal that restarts: pollers
// try again, and who watches the process or asks /readyz is told. Both are told as information.
type sdkLogger struct{ log.Logger }

func newSDKLogger(logger *slog.Logger) log.Logger {
	return sdkLogger{log.NewStructuredLogger(logger)}
}

// handled are the SDK's messages about what workflows and pollers handle.
var handled = map[string]bool{
	"Activity error.":                    true,
	"RecordActivityHeartbeat with error": true,
	"Failed to poll for task.":           true,
}

// Error implements log.Logger.
func (l sdkLogger) Error(msg string, keyvals ...any) {
	if handled[msg] {
		l.Info(msg, keyvals...)
		return
	}
	l.Logger.Error(msg, keyvals...)
}

// Warn implements log.Logger.
func (l sdkLogger) Warn(msg string, keyvals ...any) {
	if handled[msg] {
		l.Info(msg, keyvals...)
		return
	}
	l.Logger.Warn(msg, keyvals...)
}
