"""The counts of VibeFlow's inspection, the way one writes them in pandas. Prints JSON."""
import json
import sys

import pandas as pd

frame = pd.read_json(sys.argv[1], lines=True, dtype=False, convert_dates=False)
out = {"rows": len(frame), "empties": {}, "max_chars": {}, "mean_chars": {}}
total = 0
for name in frame.columns:
    column = frame[name]
    if not column.map(lambda v: isinstance(v, str)).all():
        continue
    chars = column.str.len()
    total = total + chars
    out["empties"][name] = int((column.str.strip() == "").sum())
    out["max_chars"][name] = int(chars.max())
    out["mean_chars"][name] = float(chars.mean())
total.quantile([0.5, 0.9, 0.95, 0.99])
total.value_counts(bins=[0, 1, 4, 16, 64, 256, 1024, 4096, 16384, 65536])
out["duplicates"] = int(frame.map(str).duplicated().sum())
print(json.dumps(out))
