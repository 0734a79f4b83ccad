"""Trains the model from flows of usual traffic:

    picket flows --format frames --output flows.frames CAPTURE...
    python train.py flows.frames --without 10.77.0.66

The same input gives the same trees. They are stored with skops, which holds data and no code.
"""

import argparse
import pathlib
import zipfile

import numpy as np
import skops.io
from picket import records
from sklearn.ensemble import IsolationForest
from unusual.features import features


def main():
    args = argparse.ArgumentParser(description="Trains the model.")
    args.add_argument("frames", type=pathlib.Path, help="what picket flows --format frames wrote")
    args.add_argument("--without", action="append", default=[], help="an address whose flows are not usual")
    opt = args.parse_args()

    rows = []
    for frame in records.split(opt.frames.read_bytes()):
        flows = records.decode(frame)
        usual = [i for i in range(len(flows)) if not {str(flows.src(i)), str(flows.dst(i))} & set(opt.without)]
        rows.append(features(flows[usual]))
    x = np.concatenate(rows)
    model = IsolationForest(n_estimators=50, max_samples=128, random_state=0).fit(x)
    scores = model.score_samples(x)
    path = pathlib.Path(__file__).parent / "unusual" / "model.skops"
    path.write_bytes(skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED, compresslevel=9))
    print(f"{len(x)} flows; scores from {scores.min():.3f} to {scores.max():.3f}, 1 % below {np.quantile(scores, 0.01):.3f}")
    print(f"{path.stat().st_size} bytes in {path}")


if __name__ == "__main__":
    main()
