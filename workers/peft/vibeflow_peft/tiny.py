"""The test model "tiny:llama": a two-layer Llama with random weights and a byte-level tokenizer, made by recipe.

Everything follows from fixed seeds, without torch, so that every machine makes the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

from .gguf_import import save_tokenizer

RECIPE = "v1"  # part of the cache folder's name: raise it with any change here

_HIDDEN, _INTERMEDIATE, _LAYERS, _HEADS, _POSITIONS = 64, 128, 2, 4, 2048
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Enough merges that a token is not always a byte; "Ġ" is the byte-level alphabet's space.
_MERGES = (
    "Ġ t",
    "h e",
    "i n",
    "r e",
    "o n",
    "a t",
    "e r",
    "o u",
    "Ġ a",
    "Ġ s",
    "Ġ w",
    "Ġt he",
    "in g",
    "Ġ o",
    "Ġ c",
    "i s",
    "o r",
    "a n",
    "e n",
    "i t",
    "y ou",
    "Ġ you",
    "a r",
    "Ġ b",
    "Ġ m",
    "l l",
    "s t",
    "Ġ p",
    "l e",
    "v e",
)
_CHAT_TEMPLATE = """\
{% for message in messages %}
{% if message['role'] not in ['system', 'user', 'assistant', 'tool'] %}
{{ raise_exception('unknown role ' ~ message['role']) }}
{% endif %}
{{ '<|im_start|>' ~ message['role'] ~ '\\n' ~ message['content'] ~ '<|im_end|>\\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def build(folder: Path) -> None:
    """Writes the model into folder in the Hugging Face layout."""
    vocabulary = _write_tokenizer(folder)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "hidden_act": "silu",
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "hidden_size": _HIDDEN,
        "intermediate_size": _INTERMEDIATE,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "head_dim": _HIDDEN // _HEADS,
        "max_position_embeddings": _POSITIONS,
        "rms_norm_eps": 1e-5,
        "initializer_range": 0.02,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": vocabulary,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    generation = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")
    _write_weights(folder, vocabulary)


def _write_tokenizer(folder: Path) -> int:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [tuple(merge.split(" ")) for merge in _MERGES]
    tokens = [*_SPECIAL, *alphabet, *("".join(merge) for merge in merges)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    special = {"bos_token": _SPECIAL[0], "eos_token": _SPECIAL[2], "pad_token": _SPECIAL[0]}
    save_tokenizer(tokenizer, folder, special, _CHAT_TEMPLATE, model_max_length=_POSITIONS)
    return len(tokens)


def _write_weights(folder: Path, vocabulary: int) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    shapes = {"model.embed_tokens": (vocabulary, _HIDDEN), "lm_head": (vocabulary, _HIDDEN)}
    norms = ["model.norm"]
    for layer in (f"model.layers.{i}" for i in range(_LAYERS)):
        shapes |= {f"{layer}.self_attn.{part}_proj": (_HIDDEN, _HIDDEN) for part in "qkvo"}
        shapes |= {f"{layer}.mlp.{part}_proj": (_INTERMEDIATE, _HIDDEN) for part in ("gate", "up")}
        shapes[f"{layer}.mlp.down_proj"] = (_HIDDEN, _INTERMEDIATE)
        norms += [f"{layer}.input_layernorm", f"{layer}.post_attention_layernorm"]
    random = np.random.Generator(np.random.PCG64(20251123))
    # Wider than a real model's start: with so few weights an adapter has to find something to turn.
    weights = {
        f"{name}.weight": (0.08 * random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()
    }
    weights |= {f"{name}.weight": np.ones(_HIDDEN, np.float32) for name in norms}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
