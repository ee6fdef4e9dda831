#!/usr/bin/env python3
"""Writes tests/golden/tokenizer-json.json: small tokenizer.json files of the BPE kinds, and texts with the ids that
Hugging Face's tokenizers gives for them.

  make_tokenizer_json_golden.py [TEXTS] > tests/golden/tokenizer-json.json    needs the PyPI package tokenizers

The vocabularies are trained here, on words written for it. TEXTS (default 60) random texts a file; more for a run by hand.
"""
import json
import random
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?"
          r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CORPUS = ["the cat sat on the mat, and the dog didn't", "They'll say: we've 123 cats and 2024 dogs!", "été naïve garçon français",
          "for (int i = 0; i < 10; ++i) { sum += i; }\n    return sum;\n", "日本語 日本 世界 世", "hello  world\n\n\thello", "HELLO World helloWorld"] * 4


def byte_level(name, pre, added=(), **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=340, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
                                  special_tokens=["<|end_of_text|>"])
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
    return name, tokenizer


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def spaced(name, metaspace=None, prepend=False, fallback=True, fuse=True, added=()):
    """Characters, spaces as U+2581: pre-tokenised with Metaspace, or normalised as in Llama 2's files."""
    train = Tokenizer(models.BPE(unk_token="<unk>"))
    train.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    special = ["<unk>", "<s>", "</s>"] + (["<0x%02X>" % byte for byte in range(256)] if fallback else [])
    train.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=len(special) + 120, special_tokens=special,
                                                          limit_alphabet=60, show_progress=False))
    model = json.loads(train.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges, unk_token="<unk>", fuse_unk=fuse, byte_fallback=fallback))
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
    if metaspace is not None:
        tokenizer.pre_tokenizer = metaspace
    else:
        replace = normalizers.Replace(" ", "▁")
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if prepend else replace
    strip = [decoders.Strip(" ", 1, 0)] if prepend or metaspace is not None else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return name, tokenizer


def kinds():
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
    yield byte_level("gpt-2", plain)
    yield byte_level("gpt-2, an added token", plain, added=["<tool>", "<tool><tool>"])
    yield byte_level("smollm2", pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain]))
    yield byte_level("digit runs", pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False), plain]))
    yield byte_level("llama 3", split(LLAMA3), ignore_merges=True)
    yield byte_level("qwen 2", split(QWEN2))
    yield byte_level("tekken", split(TEKKEN), ignore_merges=True)
    yield spaced("llama 2", prepend=True)
    yield spaced("no prefix")
    yield spaced("llama 2, no bytes, unknown not fused", prepend=True, fallback=False, fuse=False)
    yield spaced("llama 2, no bytes", prepend=True, fallback=False)
    for scheme in ("first", "always", "never"):
        for cut in (False, True):
            yield spaced(f"metaspace {scheme}{' split' if cut else ''}",
                         metaspace=pre_tokenizers.Metaspace(prepend_scheme=scheme, split=cut))
    yield spaced("llama 2, an added token", prepend=True, added=["<tool>"])
    yield spaced("metaspace first, an added token", metaspace=pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
                 added=["<tool>"])
    yield spaced("metaspace always, an added token", metaspace=pre_tokenizers.Metaspace(prepend_scheme="always", split=False),
                 added=["<tool>"])


# Code points that the Unicode versions 14 to 16 class alike: all assigned in 14.
def random_text(rng):
    words = ["the", " cat", "dog's", " I'LL", "don't", "été", "日本", "123", "42", " ", "  ", "\t", "\n", "\r\n", "x=", "==", "½", "▁",
             "e\u0301", "👍🏽", "👩‍💻", "<tool>", "</tool>", "<0x41>", "//\n", "helloWorld", "HELLO"]
    out = ""
    for _ in range(rng.randrange(1, 12)):
        kind = rng.randrange(6)
        if kind < 3:
            out += rng.choice(words)
        elif kind == 3:
            out += chr(rng.randrange(1, 128))
        elif kind == 4:
            out += chr(rng.choice([rng.randrange(0xA0, 0x250), rng.randrange(0x300, 0x340), rng.randrange(0x2000, 0x2070),
                                   rng.randrange(0x4E00, 0x5000), rng.randrange(0x1F600, 0x1F640), rng.randrange(0x660, 0x66A)]))
        else:
            out += " " * rng.randrange(1, 5)
    return out


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    fixed = ["", " ", "  ", "a", " a", "▁a", "the cat", " the cat", "the  cat", "a\n b", "日本語", "😀", "<tool>a", "a <tool> b", "a<tool>"]
    files = []
    for index, (name, tokenizer) in enumerate(kinds()):
        rng = random.Random(index)
        texts = fixed + [random_text(rng) for _ in range(count)]
        # The names of special tokens in a text are text here, there they would be the tokens: none of them occurs.
        cases = [[text, tokenizer.encode(text, add_special_tokens=False).ids] for text in texts]
        files.append({"name": name, "tokenizer": json.loads(tokenizer.to_str()), "cases": cases})
    out = [{"name": f["name"], "tokenizer": f["tokenizer"], "cases": f["cases"]} for f in files]
    sys.stdout.write('{"made_by": "tokenizers %s", "files": [\n' % tokenizers.__version__)
    sys.stdout.write(",\n".join(json.dumps(f, ensure_ascii=False, separators=(",", ":")) for f in out))
    sys.stdout.write("\n]}\n")


main()
