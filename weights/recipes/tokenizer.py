"""A small CLIP tokenizer: lower case, byte-level BPE with `</w>`, as `transformers.CLIPTokenizer` writes it."""
from collections import Counter

import regex
from transformers import CLIPTokenizer

WORDS = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
START, END = '<|startoftext|>', '<|endoftext|>'


def byte_letters():
    """The 256 printable stand-ins for bytes, in the order of GPT-2 and CLIP."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in kept]
    return {**{b: chr(b) for b in kept}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def learn(corpus):
    """(vocab, merges): bytes, bytes that end a word, then merges until each word of the corpus is one token."""
    letters = byte_letters()
    words = Counter()
    for text, weight in corpus:
        for word in WORDS.findall(text.lower()):
            spelled = [letters[b] for b in word.encode()]
            words[(*spelled[:-1], spelled[-1] + '</w>')] += weight
    merges = []
    while True:
        pairs = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        words = Counter({merge(w, best): n for w, n in words.items()})
    tokens = [*letters.values(), *(c + '</w>' for c in letters.values()), *(a + b for a, b in merges), START, END]
    assert len(set(tokens)) == len(tokens)
    return {t: i for i, t in enumerate(tokens)}, merges


def merge(word, pair):
    out, i = [], 0
    while i < len(word):
        if word[i:i + 2] == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def build(corpus, folder, max_length):
    """Writes tokenizer.json and tokenizer_config.json into `folder`; returns the tokenizer."""
    vocab, merges = learn(corpus)
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_length)
    assert tokenizer.eos_token_id == len(vocab) - 1 == max(vocab.values())
    tokenizer.save_pretrained(folder)
    return tokenizer
