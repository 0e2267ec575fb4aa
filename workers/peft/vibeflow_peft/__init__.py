"""VibeFlow's runner: one detached process that trains, evaluates, exports or serves one model.

It reads one spec.json, appends NDJSON events to a file, and leaves result.json as its last act
(docs/runner-protocol.md). Every import points down these layers (tests/test_layers.py):

    __main__                                         the command line
    runner, serve, warm, inspection                  processes
    train, evaluate, export                          verbs; run is what they are given and give back
    trainer, preflight, engine, …                    the work
    models, encoding, checkpoint, fingerprint, …     its parts
    errors, events, stop, process, environment, …    leaves

Importing torch and its friends costs seconds. So the processes, the spec and the leaves need the standard library only,
and import a verb once they know that they need it.
"""
