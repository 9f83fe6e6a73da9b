"""Writes tests/data/sb3/tiny.zip: a zip in the format of Stable-Baselines3 2.2.1, with a TRPO agent of
two hidden layers of 3 units and random weights, and tests/data/sb3/tiny_logits.csv: what PyTorch's
layers make of some observations. Needs torch only; the zip's members are written as
Stable-Baselines3's save_to_zip_file writes them, Python objects left out.

    python3 python/make_sb3_fixture.py tests/data/sb3
"""

import csv
import io
import json
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

OPTIONS = [22, 7, 8]
UNITS = 3

folder = Path(sys.argv[1])
torch.manual_seed(7)


def body():
    return nn.Sequential(nn.Linear(9, UNITS), nn.Tanh(), nn.Linear(UNITS, UNITS), nn.Tanh())


policy_net, value_net = body(), body()
action_head, value_head = nn.Linear(UNITS, sum(OPTIONS)), nn.Linear(UNITS, 1)
for net in (policy_net, value_net):
    # Observations reach 100: the units should not all be saturated.
    with torch.no_grad():
        net[0].weight.mul_(0.05)
state = OrderedDict()
for prefix, module in [
    ("mlp_extractor.policy_net", policy_net),
    ("mlp_extractor.value_net", value_net),
    ("action_net", action_head),
    ("value_net", value_head),
]:
    for name, tensor in module.state_dict().items():
        state[f"{prefix}.{name}"] = tensor

data = {
    "policy_kwargs": {"net_arch": [UNITS, UNITS]},
    "num_timesteps": 4096,
    "seed": None,
    "learning_rate": 0.001,
    "observation_space": {"_shape": [9], "low": "[0 0 0 0 0 0 0 0 0]", "dtype": "int64"},
    "action_space": {"nvec": str(OPTIONS).replace(",", " "), "_shape": [3], "dtype": "int64"},
    "n_envs": 1,
    "n_steps": 2048,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "batch_size": 128,
    "cg_max_steps": 15,
    "cg_damping": 0.1,
    "line_search_shrinking_factor": 0.8,
    "line_search_max_iter": 10,
    "target_kl": 0.01,
    "n_critic_updates": 10,
    "sub_sampling_factor": 1,
    "normalize_advantage": True,
}
weights = io.BytesIO()
torch.save(state, weights)
members = {
    "data": json.dumps(data, indent=4).encode(),
    "policy.pth": weights.getvalue(),
    "_stable_baselines3_version": b"2.2.1",
}
with zipfile.ZipFile(folder / "tiny.zip", "w") as archive:
    for name, content in members.items():
        # A fixed date, so that the same weights give the same file.
        archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), content)

observations = torch.randint(0, 101, (12, 9), dtype=torch.int64)
with torch.no_grad():
    logits = action_head(policy_net(observations.float()))
    values = value_head(value_net(observations.float()))
with open(folder / "tiny_logits.csv", "w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    count = sum(OPTIONS)
    writer.writerow(
        [f"obs{i}" for i in range(9)]
        + [f"logit{i}" for i in range(count)]
        + [f"argmax{i}" for i in range(3)]
        + ["value"]
    )
    for row in range(len(observations)):
        heads = torch.split(logits[row], OPTIONS)
        writer.writerow(
            observations[row].tolist()
            + [f"{x:.9g}" for x in logits[row].tolist()]
            + [int(head.argmax()) for head in heads]
            + [f"{values[row].item():.9g}"]
        )
