"""Reads a GGUF of the Llama architecture into the Hugging Face layout: config, safetensors weights, tokenizer.

Our own reader because transformers' `gguf_file=` takes 12–18 s, leaves a model that save_pretrained refuses, and makes
a tokenizer that splits digits wrongly (docs/evaluation.md would measure the wrong model). Pure numpy: no torch.
What it does not know it refuses: another architecture, another pre-tokenizer, a tensor without a name here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import RunnerError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader

_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.weight")

_CONTROL_TOKEN = 3  # tokenizer.ggml.token_type of special tokens


def import_gguf(source: Path, folder: Path) -> None:
    """Writes config.json, generation_config.json, model.safetensors and the tokenizer's files into folder.

    Weights are dequantised to float32. Raises RunnerError("unsupported") for what it does not know.
    """
    from gguf import GGUFReader

    reader = GGUFReader(str(source))
    fields = {name: field.contents() for name, field in reader.fields.items()}
    if fields.get("general.architecture") != "llama":
        raise _unsupported(f"architecture {fields.get('general.architecture')!r}")
    _write_tokenizer(fields, folder)
    config = _config(fields, tied=not any(t.name == "output.weight" for t in reader.tensors))
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", _generation_config(fields))
    _write_weights(reader, config, folder)


def _unsupported(what: str) -> RunnerError:
    return RunnerError(
        "unsupported",
        f"this GGUF has {what}, which VibeFlow cannot import exactly",
        remedy="use the model's safetensors from the Hub instead",
    )


def _config(fields: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    heads = fields["llama.attention.head_count"]
    hidden = fields["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields.get("tokenizer.ggml.padding_token_id"),
        "dtype": "float32",
        "head_dim": fields.get("llama.rope.dimension_count", hidden // heads),
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": fields["llama.feed_forward_length"],
        "max_position_embeddings": fields["llama.context_length"],
        "mlp_bias": False,
        "num_attention_heads": heads,
        "num_hidden_layers": fields["llama.block_count"],
        "num_key_value_heads": fields.get("llama.attention.head_count_kv", heads),
        # The file holds float32; the shortest decimal that reads back as it is what its author wrote.
        "rms_norm_eps": float(f"{fields['llama.attention.layer_norm_rms_epsilon']:.7g}"),
        "rope_parameters": {"rope_theta": float(fields.get("llama.rope.freq_base", 10000.0)), "rope_type": "default"},
        "tie_word_embeddings": tied,
        "use_cache": True,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
    }


def _generation_config(fields: dict[str, Any]) -> dict[str, Any]:
    names = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    ids = {name: fields.get(f"tokenizer.ggml.{key}_token_id") for name, key in names.items()}
    return {name: value for name, value in ids.items() if value is not None}


def _write_weights(reader: GGUFReader, config: dict[str, Any], folder: Path) -> None:
    from gguf.quants import dequantize
    from safetensors.numpy import save_file

    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights: dict[str, np.ndarray] = {}
    for tensor in reader.tensors:
        name, part = _hf_name(tensor.name)
        array = dequantize(tensor.data, tensor.tensor_type).astype("float32")
        array = array.reshape(tuple(int(n) for n in reversed(tensor.shape)))
        if part in heads:
            array = _unpermute(array, heads[part])
        weights[name] = array
    expected = 2 + len(_LAYER_TENSORS) * config["num_hidden_layers"] + (not config["tie_word_embeddings"])
    if len(weights) != expected:
        raise _unsupported(f"{len(weights)} tensors where its architecture has {expected}")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _hf_name(name: str) -> tuple[str, str]:
    """The Hugging Face name of a GGUF tensor, and which part of a layer it is."""
    if name in _TENSORS:
        return _TENSORS[name], ""
    layer = _LAYER.fullmatch(name)
    if layer is None or layer[2] not in _LAYER_TENSORS:
        raise _unsupported(f"a tensor {name!r}")
    return f"model.layers.{layer[1]}.{_LAYER_TENSORS[layer[2]]}.weight", layer[2]


def _unpermute(array: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp interleaves the two halves of each rotary head; Hugging Face keeps them apart."""
    import numpy as np

    half = array.shape[0] // heads // 2
    return np.ascontiguousarray(array.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(array.shape))


def _pre_tokenizer(name: str) -> Any:
    """How text is split before the merges: only the schemes that we have proven id-identical to llama.cpp's."""
    from tokenizers import pre_tokenizers

    if name == "smollm":
        return pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    raise _unsupported(f"the pre-tokenizer {name!r}")


def _write_tokenizer(fields: dict[str, Any], folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models

    if fields.get("tokenizer.ggml.model") != "gpt2":
        raise _unsupported(f"a tokenizer of kind {fields.get('tokenizer.ggml.model')!r}")
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = _pre_tokenizer(fields.get("tokenizer.ggml.pre", ""))
    tokenizer.decoder = decoders.ByteLevel()
    kinds = fields["tokenizer.ggml.token_type"]
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == _CONTROL_TOKEN
        ]
    )
    special = {
        f"{name}_token": tokens[fields[f"tokenizer.ggml.{key}_token_id"]]
        for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown"))
        if f"tokenizer.ggml.{key}_token_id" in fields
    }
    save_tokenizer(
        tokenizer,
        folder,
        special,
        fields.get("tokenizer.chat_template"),
        model_max_length=fields["llama.context_length"],
    )


def save_tokenizer(
    tokenizer: Any, folder: Path, special: dict[str, str], chat_template: str | None, *, model_max_length: int
) -> None:
    """Writes tokenizer.json, tokenizer_config.json and chat_template.jinja as transformers reads them."""
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            **special,
            "backend": "tokenizers",
            "clean_up_tokenization_spaces": False,
            "model_max_length": model_max_length,
            # The generic class: LlamaTokenizer would rebuild the pre-tokenizer by its own rules.
            "tokenizer_class": "TokenizersBackend",
        },
    )
    if chat_template:
        (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
