"""VibeFlow's runner: one detached process that trains, evaluates, exports or serves one model.

It reads one spec.json, appends NDJSON events to a file, and leaves result.json as its last act
(docs/runner-protocol.md). Only the standard library is imported at the top of its modules that `probe`, the spec and
the supervisor's contract need; torch and its friends are imported inside the verbs, for importing them costs seconds.
"""
