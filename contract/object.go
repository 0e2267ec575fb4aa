package contract

import "time"

// Object is one immutable, encrypted object of the artifact store, as its index knows it. WrappedKey is the object's
// data key, encrypted under the master key; it never leaves the server.
type Object struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	ContentType string    `json:"content_type"`
	SHA256      string    `json:"sha256"` // of the plaintext, lower-case hexadecimal
	Size        int64     `json:"size"`   // bytes of plaintext
	WrappedKey  []byte    `json:"-"`
	CreatedAt   time.Time `json:"created_at"`
}

// ObjectRef points at an object of the artifact store and says what is in it.
type ObjectRef struct {
	ObjectID string `json:"object_id"`
	SHA256   string `json:"sha256"`
	Size     int64  `json:"size"`
}

// DatasetProcessed is the payload of "dataset.processed" and "dataset.completed": the canonical splits of a dataset.
// Fields that are zero leave the dataset's row as it was, so that a workflow may repeat the event with less.
type DatasetProcessed struct {
	Format    string     `json:"format,omitempty"`    // as it was uploaded: alpaca, sharegpt, …
	Canonical string     `json:"canonical,omitempty"` // chat | prompt_completion | text: DatasetRef.Format
	Rows      int64      `json:"rows,omitempty"`
	TrainRows int64      `json:"train_rows,omitempty"`
	EvalRows  int64      `json:"eval_rows,omitempty"`
	Columns   []string   `json:"columns,omitempty"`
	Train     *ObjectRef `json:"train,omitempty"`
	Eval      *ObjectRef `json:"eval,omitempty"`
	// Dropped counts the rows that were left out, by reason: invalid, duplicate, too_short, too_long, too_many_turns, over_max_rows.
	Dropped map[string]int64 `json:"dropped,omitempty"`
	// Options are those that the splits were made with.
	Options *ProcessOptions `json:"options,omitempty"`
}

// EventProcessed tells that a dataset's splits are stored: payload DatasetProcessed.
const EventProcessed = "processed"

// EventMeasured tells an evaluation's whole result, samples included, as the gateway took it from the runner: payload
// EvaluationResult. "evaluation.completed" repeats it without the samples once the workflow has closed the run.
const EventMeasured = "measured"
