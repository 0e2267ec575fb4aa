// Package gpu holds the activities of the slot and serve queues: RunTraining, RunEvaluation, RunExport and Serve.
//
// They are thin. They turn Temporal's ways of ending an activity into the two wishes that a supervisor knows (save and
// leave; let go), keep heartbeating until the supervisor has finished, whatever became of the activity's context, and
// turn its outcome into what a workflow reads. The supervising is done by workers/runner and workers/engine.
package gpu
