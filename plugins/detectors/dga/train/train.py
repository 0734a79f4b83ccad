"""Trains the model of picket/dga and writes it, its card, the list of families and the vectors that tests compare with.

    python3 plugins/detectors/dga/train/train.py            # needs go, and numpy, scipy, onnx, onnxruntime
    python3 plugins/detectors/dga/train/train.py --design   # figures to choose a design by, from the trained families alone

Run it in the root of the repository, with the lists in ../shared/data. The same versions give the same bytes on the same machine.
What a name looks like to the model is told by the detector's own code: train/names prints what it judges, and pieces() below is
features.go in Python; the vectors keep both alike.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # sums in one order, so that the bytes do not depend on the machine's load

import argparse
import collections
import csv
import gzip
import hashlib
import json
import pathlib
import string
import subprocess

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import scipy.sparse as sp

SHARED = pathlib.Path("../shared/data")
LISTS = SHARED / "dga/domains.tsv.gz"
# What is on one of these lists is taken for ordinary. The rest of the names called benign are the most asked ones of a resolver,
# among which algorithms have theirs, too: they are trained with, and their share above the bar is reported apart.
KNOWN = [SHARED / f"threatintel/warninglists/{name}.json.gz" for name in ("tranco10k", "majestic_million", "cisco_top20k")]
RESOLVER = "cloudflare-top100k"

HERE = pathlib.Path("plugins/detectors/dga")
SPLIT = pathlib.Path("examples/datasets/dga-families.tsv")

# Families that put words together, or change a letter or a number of a fixed name. They are reported apart and not trained:
# what they make are names as people make them.
WORDS = {"suppobox", "nymaim2", "ngioweb", "banjori", "fosniw"}

# Families whose names can be spoken: vowels and consonants in turn. They are split as all others, and reported apart, too.
SYLLABLES = {"pitou", "pushdo", "simda"}

# ---- what the model sees, as features.go has it ----

BUCKETS, SUFFIXES = 1 << 14, 256
VOWELS, DIGITS = frozenset(b"aeiouy"), frozenset(b"0123456789")
ROWS = BUCKETS + 32 + 17 + 17 + 16 + 17 + 17 + 4 + SUFFIXES


def fnv(data: bytes) -> int:
    h = 2166136261
    for c in data:
        h = (h ^ c) * 16777619 & 0xFFFFFFFF
    return h ^ h >> 15


def pieces(label: str, suffix: str) -> list[int]:
    text = b"^" + label.encode() + b"$"
    out = []
    for i in range(len(text)):
        out += [fnv(text[i : i + n]) % BUCKETS for n in (1, 2, 3) if i + n <= len(text)]
    body = text[1:-1]
    vowels = digits = run = longest = turns = 0
    last = None
    for c in body:
        kind = "vowel" if c in VOWELS else "digit" if c in DIGITS else "hyphen" if c == 45 else "consonant"
        vowels += kind == "vowel"
        digits += kind == "digit"
        run = run + 1 if kind == "consonant" else 0
        longest = max(longest, run)
        turns += last is not None and kind != last
        last = kind
    n, base = len(body), BUCKETS
    for value, room in (
        (min(n, 31), 32),
        (vowels * 16 // n, 17),
        (digits * 16 // n, 17),
        (min(longest, 15), 16),
        (turns * 16 // n, 17),
        (len(set(body)) * 16 // n, 17),
        (min(body.count(b"-"), 3), 4),
        (fnv(suffix.encode()) % SUFFIXES, SUFFIXES),
    ):
        out.append(base + value)
        base += room
    return out


def matrix(names: list[tuple[str, str]]) -> sp.csr_matrix:
    ids, ends = [], [0]
    for label, suffix in names:
        ids.extend(pieces(label, suffix))
        ends.append(len(ids))
    m = sp.csr_matrix((np.ones(len(ids), np.float32), np.array(ids), np.array(ends)), (len(names), ROWS))
    m.sum_duplicates()
    return m


# ---- names ----


def digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def read_names():
    """What the detector judges of the lists: names (label and suffix) by family; ordinary ones are known, or of the resolver."""
    known = set()
    for path in KNOWN:
        known.update(json.loads(gzip.decompress(path.read_bytes()))["list"])
    command = ["go", "run", "./" + str(HERE / "train/names")]
    text = subprocess.run(command, input=gzip.decompress(LISTS.read_bytes()), capture_output=True, check=True).stdout.decode()
    out, everywhere = collections.defaultdict(dict), set()
    for family, label, suffix, name, source in csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        if family == "benign" and (source != RESOLVER or name in known):
            everywhere.add(label)
        out[family].setdefault(label, suffix)
    out["known"] = {label: suffix for label, suffix in out["benign"].items() if label in everywhere}
    out["resolver"] = {label: suffix for label, suffix in out.pop("benign").items() if label not in everywhere}
    return {family: list(names.items()) for family, names in out.items()}


ORDINARY = ("known", "resolver")


def split_families(names) -> dict[str, str]:
    """In the order of the SHA-256 of their names families take turns, beginning with left-out."""
    chosen = sorted((f for f in names if f not in ORDINARY and f not in WORDS), key=lambda f: hashlib.sha256(f.encode()).hexdigest())
    return {f: ("left-out", "trained")[i % 2] for i, f in enumerate(chosen)} | {f: "words" for f in sorted(WORDS)}


def share(names, low, high):
    """The names whose label's hash lies in a range of percents."""
    return [n for n in names if low <= digest(n[0]) % 100 < high]


def ordinary(names):
    """To train with; to place the scale; for the figures, of the known and of the resolver's."""
    fit = share(names["known"], 0, 40) + share(names["resolver"], 0, 80)
    return fit, share(names["known"], 40, 65), share(names["known"], 65, 100), share(names["resolver"], 80, 100)


def made_up(rng: np.random.Generator, families: int, each: int) -> list[str]:
    """Names of generators that nobody uses: letters drawn by weights, or by what came before, each family with its own."""
    letters, digits, hexa = "abcdefghijklmnopqrstuvwxyz", "0123456789", "0123456789abcdef"
    vowels, consonants = "aeiou", "bcdfghjklmnpqrstvwxyz"
    out = []
    for family in range(families):
        kind, shortest = family % 6, int(rng.integers(6, 16))
        spread = int(rng.integers(1, 12))
        alphabet = (letters, letters + digits, hexa, letters, letters, letters)[kind]
        if kind == 3:  # some letters only
            alphabet = "".join(rng.permutation(list(letters))[: rng.integers(8, 20)])
        p = rng.dirichlet(np.full(len(alphabet), (50, 50, 50, 3, 3, 3)[kind]))
        after = rng.dirichlet(np.full(26, 0.5), 26) if kind == 4 else None  # each letter by the one before
        strict = rng.uniform(0.75, 1)  # how often vowels and consonants take turns
        for _ in range(each):
            n = shortest + int(rng.integers(0, spread))
            if kind == 4:
                at, text = int(rng.integers(26)), ""
                for _ in range(n):
                    text += letters[at]
                    at = int(rng.choice(26, p=0.7 * after[at] + 0.3 / 26))
            elif kind == 5:
                vowel, text = rng.random() < 0.5, ""
                for _ in range(n):
                    text += rng.choice(list(vowels if vowel else consonants))
                    vowel = not vowel if rng.random() < strict else vowel
            else:
                text = "".join(rng.choice(list(alphabet), n, p=p))
            out.append(text)
    return sorted(set(out))


# ---- the network: the sum of the pieces → 32 → 16 → 1 ----

HIDDEN, SECOND = 32, 16
GRID = 1 / 32  # weights of pieces are whole numbers of this, so that their sum is exact in any order
FORGET = 0.5  # share of the pieces that a name loses each time it is shown


def train(x, y, weight, seed=1, epochs=6, batch=4096):
    rng = np.random.default_rng(seed)
    params = [
        rng.normal(0, 0.05, (x.shape[1], HIDDEN)),
        np.zeros(HIDDEN),
        rng.normal(0, (2 / HIDDEN) ** 0.5, (HIDDEN, SECOND)),
        np.zeros(SECOND),
        rng.normal(0, (1 / SECOND) ** 0.5, (SECOND, 1)),
        np.zeros(1),
    ]
    params = [p.astype(np.float32) for p in params]
    first, second, step = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params], 0
    steps = epochs * -(-x.shape[0] // batch)
    for _ in range(epochs):
        order = rng.permutation(x.shape[0])
        for low in range(0, len(order), batch):
            rows = order[low : low + batch]
            xb, yb, wb = x[rows].copy(), y[rows], weight[rows]
            xb.data = (xb.data * (rng.random(len(xb.data)) > FORGET) / (1 - FORGET)).astype(np.float32)
            e, b1, w2, b2, w3, b3 = params
            keep = (rng.random(HIDDEN) > 0.1).astype(np.float32) / np.float32(0.9)
            a1 = xb @ e + b1
            h1 = np.maximum(a1, 0) * keep
            a2 = h1 @ w2 + b2
            h2 = np.maximum(a2, 0)
            logit = (h2 @ w3 + b3)[:, 0]
            d3 = ((1 / (1 + np.exp(-logit)) - yb) * wb / wb.sum())[:, None].astype(np.float32)
            d2 = d3 @ w3.T * (a2 > 0)
            d1 = d2 @ w2.T * (a1 > 0) * keep
            step += 1
            rate = 0.012 * (1 - step / (steps + 1))
            grads = [xb.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0)]
            for i, (p, g, m1, m2) in enumerate(zip(params, grads, first, second)):
                m1 += 0.1 * (g - m1)
                m2 += 0.01 * (g * g - m2)
                p -= rate * (m1 / (1 - 0.9**step) / (np.sqrt(m2 / (1 - 0.99**step)) + 1e-8) + (0.01 * p if i == 0 else 0))
    params[0] = np.clip(np.round(params[0] / GRID), -127, 127).astype(np.float32) * np.float32(GRID)
    return params


def logits(params, x):
    e, b1, w2, b2, w3, b3 = params
    return (np.maximum(np.maximum(x @ e + b1, 0) @ w2 + b2, 0) @ w3 + b3)[:, 0]


def training_set(families, plain, seed=9):
    """Each family counts with the root of its size, those that are made up as much as all others, and all of them as much as the
    ordinary names. Half of the names get another suffix, or the model would learn who registers where."""
    rng = np.random.default_rng(seed)
    used = sorted({suffix for group in families.values() for _, suffix in group})

    def other():
        return plain[rng.integers(len(plain))][1] if rng.random() < 0.5 else used[rng.integers(len(used))]

    groups = [[(label, suffix if rng.random() < 0.5 else other()) for label, suffix in group] for group in families.values()]
    groups.append([(label, other()) for label in made_up(np.random.default_rng(8), 1500, 20)])
    parts = [len(g) ** 0.5 for g in groups[:-1]]
    parts.append(sum(parts))
    names, y, weight = list(plain), [0.0] * len(plain), [1.0] * len(plain)
    for group, part in zip(groups, parts):
        names += group
        y += [1.0] * len(group)
        weight += [part / sum(parts) * len(plain) / len(group)] * len(group)
    return matrix(names), np.array(y, np.float32), np.array(weight, np.float32)


def scaled(params, plain):
    """A score of 0.5 is that of one ordinary name in ten, one of 0.9 that of one in 250."""
    ten, rare = np.quantile(logits(params, plain), [0.9, 0.996])
    factor = np.log(9) / (rare - ten)
    return [*params[:4], (params[4] * factor).astype(np.float32), ((params[5] - ten) * factor).astype(np.float32)]


def design(names, sides):
    """Each third of the trained families is left out in turn; the families that are left out for good are not touched."""
    plain, scale, _, _ = ordinary(names)
    trained, seen = [f for f, side in sides.items() if side == "trained"], {}
    for turn in range(3):
        out = trained[turn::3]
        params = scaled(train(*training_set({f: names[f] for f in trained if f not in out}, plain)), matrix(scale))
        for f in out:
            seen[f] = float((logits(params, matrix(names[f])) > np.log(9)).mean())
    for f in trained:
        print(f"{f}\t{len(names[f])}\t{seen[f]:.3f}")
    print(f"mean of families {np.mean(list(seen.values())):.3f}")


def export(params, path):
    e, b1, w2, b2, w3, b3 = params
    constant = lambda name, array: onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
    nodes = [
        oh.make_node("Gather", ["table", "pieces"], ["rows"]),
        oh.make_node("Cast", ["rows"], ["numbers"], to=onnx.TensorProto.FLOAT),
        oh.make_node("ReduceSum", ["numbers", "over"], ["sum"], keepdims=1),
        oh.make_node("Mul", ["sum", "grid"], ["weights"]),
        oh.make_node("Add", ["weights", "b1"], ["a1"]),
        oh.make_node("Relu", ["a1"], ["h1"]),
        oh.make_node("Gemm", ["h1", "w2", "b2"], ["a2"]),
        oh.make_node("Relu", ["a2"], ["h2"]),
        oh.make_node("Gemm", ["h2", "w3", "b3"], ["logit"]),
        oh.make_node("Sigmoid", ["logit"], ["score"]),
    ]
    constants = [
        constant("table", np.round(e / GRID).astype(np.int8)),
        constant("over", np.array([0], np.int64)),
        constant("grid", np.array([GRID], np.float32)),
        *(constant(n, v.astype(np.float32)) for n, v in zip(("b1", "w2", "b2", "w3", "b3"), (b1, w2, b2, w3, b3))),
    ]
    graph = oh.make_graph(
        nodes,
        "dga-names",
        [oh.make_tensor_value_info("pieces", onnx.TensorProto.INT64, ["n"])],
        [oh.make_tensor_value_info("score", onnx.TensorProto.FLOAT, [1, 1])],
        constants,
    )
    model = oh.make_model(graph, producer_name="picket", opset_imports=[oh.make_opsetid("", 17)], ir_version=8)
    oh.set_model_props(model, {"features": "dga-label", "features_version": "1"})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def write_vectors(path, session):
    """Names of our own, what the model sees of them, and what onnxruntime makes of it."""
    words = "picket fence garden network watch river-boat mail4you shop24 my-cloud wikipedia openstreetmap debian".split()
    suffixes = ["com", "net", "org", "ru", "co.uk", "info", "duckdns.org", "xyz", "de"]
    labels = words + made_up(np.random.default_rng(99), 60, 5) + ["a" * 63, "0123456789", "a-b-c-d-e", string.ascii_lowercase]
    with path.open("w") as out:
        for i, label in enumerate(labels):
            suffix = suffixes[i % len(suffixes)]
            ids = pieces(label, suffix)
            score = session.run(None, {"pieces": np.array(ids, np.int64)})[0][0, 0]
            print(label, suffix, ",".join(map(str, ids)), f"{score:.9g}", sep="\t", file=out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--design", action="store_true")
    args = parser.parse_args()
    names = read_names()
    sides = split_families(names)
    if args.design:
        return design(names, sides)
    plain, scale, known, resolver = ordinary(names)
    params = scaled(train(*training_set({f: names[f] for f, side in sides.items() if side == "trained"}, plain)), matrix(scale))
    export(params, HERE / "model/names.onnx")
    session = onnxruntime.InferenceSession(HERE / "model/names.onnx", providers=["CPUExecutionProvider"])
    write_vectors(HERE / "testdata/vectors.tsv", session)
    kind = lambda f: "words" if f in WORDS else "syllables" if f in SYLLABLES else "characters"
    SPLIT.write_text("family\tmakes\tside\n" + "".join(f"{f}\t{kind(f)}\t{sides[f]}\n" for f in sorted(sides)))
    above = lambda group: float((logits(params, matrix(group)) > np.log(9)).mean())
    for side in ("left-out", "trained", "words"):
        for f in sorted(f for f in sides if sides[f] == side):
            print(f"{side}\t{f}\t{len(names[f])}\t{above(names[f]):.4f}")
    print(f"ordinary\tknown\t{len(known)}\t{above(known):.4f}\nordinary\tresolver\t{len(resolver)}\t{above(resolver):.4f}")


if __name__ == "__main__":
    main()
