"""Writes the Parquet files of the tests with pyarrow, which is what pandas and Hugging Face's datasets write with."""
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

here = pathlib.Path(__file__).parent

turn = pa.struct([("role", pa.string()), ("content", pa.string())])
rows = [
    {"id": 1, "score": 0.5, "ok": True, "messages": [{"role": "user", "content": "é?"}, {"role": "assistant", "content": "yes"}], "tags": ["x", None]},
    {"id": 2, "score": None, "ok": None, "messages": [], "tags": []},
    {"id": 3, "score": float("nan"), "ok": False, "messages": None, "tags": None},
    {"id": 4, "score": 2.0, "ok": True, "messages": [{"role": "user", "content": "a"}, None, {"role": "assistant", "content": None}], "tags": ["y"]},
]
schema = pa.schema([("id", pa.int64()), ("score", pa.float64()), ("ok", pa.bool_()), ("messages", pa.list_(turn)), ("tags", pa.list_(pa.string()))])
pq.write_table(pa.Table.from_pylist(rows, schema=schema), here / "nested.parquet", row_group_size=3, compression="snappy")

pairs = [{"question": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(300)]
pq.write_table(pa.Table.from_pylist(pairs), here / "pairs.parquet", row_group_size=64, compression="zstd")

nulls = [{"prompt": f"q{i}", "completion": "a b c " * 50, "system": None} for i in range(50)]
table = pa.Table.from_pylist(nulls, schema=pa.schema([(name, pa.string()) for name in ("prompt", "completion", "system")]))
for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4"):
    for version in ("1.0", "2.0"):
        pq.write_table(table, here / f"{codec}-{version[0]}.parquet", compression=codec, data_page_version=version, use_dictionary=version == "1.0")
