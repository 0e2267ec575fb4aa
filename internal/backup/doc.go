// Package backup copies a data folder while it is in use, and makes a data folder of such a copy.
//
// # One moment
//
// A backup is what a loss of power at one moment would have left: Temporal's database first, then the application's, while
// the application's writes wait for some milliseconds (cut.go). So the copy of the application is never older than that of
// Temporal: what Temporal has been told is in the outbox's past or still in the outbox, what a workflow has recorded is in
// the log, and going on from it is what every start after a kill does. Reconciliation can only repeat, and a repetition
// changes nothing (ADR 2). The other order would lose: an event that a workflow believes to have recorded.
//
// Stored objects come last. They are immutable and named by random ids; while a backup runs (datadir.LockBackup) the server
// deletes none, so all that the application's copy names is there.
//
// # Format
//
// An archive is a tar file, encrypted with a passphrase as age does it (age-encryption.org/v1), so that it can be opened
// without VibeFlow: `age -d FILE | tar -x`. Its entries, in this order:
//
//	backup.json            Head
//	secrets/…              master.key, jwt.key; the other tokens are made anew, so that an old worker's are worth nothing
//	temporal/…             version.json, temporal.db (unless an external Temporal is used)
//	app.db
//	objects/<id>           encrypted as they lie in blobs/; left out where they stand beside the archive
//	manifest.json          every file with its size and SHA-256. An archive without it is half of one
//
// A folder of backups keeps the objects beside the archives, once for all of them: objects/<id>.<sha256>. They are encrypted
// under keys that only the archive's master key opens. vibeflow-<time>.objects names those that an archive needs.
package backup
