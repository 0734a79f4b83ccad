"""What the model sees of a flow. Training and detecting share it."""

import numpy as np

COLUMNS = ["duration", "fwd_packets", "rev_packets", "fwd_bytes", "rev_bytes", "fwd_payload", "rev_payload", "fwd_len_mean",
           "rev_len_mean", "syn_count", "fin_count", "rst_count"]


def features(flows):
    """One row for each flow. Sizes and times span many orders of magnitude, hence the logarithm."""
    x = np.nan_to_num(flows.matrix(COLUMNS), nan=0, posinf=1e18, neginf=0)
    return np.log1p(np.maximum(x, 0))
