"""The original's training recipe in PyTorch, as a peer for `quotascale predictor train --model original`.

    python torch_recipe.py --trace FILE --column users --epochs 10 --out DIR [--seed N] [--threads N]

The network, the data and the batches are those of keras_recipe.py, nn.LSTM is PyTorch's own, initial
weights are PyTorch's. Early stopping is off: a fixed number of epochs. Prints one line of JSON: test MAE in
users, and the median wall and CPU seconds of an epoch with its validation.
"""

import argparse
import csv
import json
import os
import statistics
import time

import numpy as np
import torch

WINDOW = 7
UNITS = 100
BATCH = 128


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.LSTM(1, UNITS, num_layers=2, bidirectional=True, batch_first=True)
        self.out = torch.nn.Linear(2 * UNITS, 1)

    def forward(self, x):
        _, (last, _) = self.body(x)
        return self.out(torch.cat([last[-2], last[-1]], dim=1))[:, 0]


def windows(values):
    count = len(values) - WINDOW
    x = np.stack([values[i : i + WINDOW] for i in range(count)])
    return torch.from_numpy(x[:, :, None].copy()), torch.from_numpy(values[WINDOW:].copy())


def predict(model, x):
    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(BATCH)])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trace", required=True)
    parser.add_argument("--column", default="users")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)

    with open(arguments.trace, newline="") as file:
        users = np.array([float(row[arguments.column]) for row in csv.DictReader(file)])
    # The original fits its scaler on all rows, the test part included.
    low, high = users.min(), users.max()
    scaled = ((users - low) / (high - low)).astype(np.float32)
    cut = int(0.8 * len(users))
    x, y = windows(scaled[:cut])
    x_test, y_test = windows(scaled[cut:])
    fitted = int(0.8 * len(x))

    model = Network()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
    wall, cpu = [], []
    for _ in range(arguments.epochs):
        started, used = time.perf_counter(), time.process_time()
        for rows in torch.randperm(fitted).split(BATCH):
            adam.zero_grad(set_to_none=True)
            torch.nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
            adam.step()
        torch.nn.functional.mse_loss(predict(model, x[fitted:]), y[fitted:])
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    os.makedirs(arguments.out, exist_ok=True)
    torch.save(model.state_dict(), os.path.join(arguments.out, "model.pt"))
    error = (predict(model, x_test) - y_test).abs().mean().item() * (high - low)
    epoch = {"wall_s": statistics.median(wall), "cpu_s": statistics.median(cpu)}
    print(json.dumps({"mae": error, "epochs": arguments.epochs, "epoch": epoch}))


if __name__ == "__main__":
    main()
