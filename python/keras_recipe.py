"""The original's training recipe in Keras, as a peer for `quotascale predictor train --model original`.

    python keras_recipe.py --trace FILE --column users --epochs 10 --out DIR [--seed N]

Facts of the recipe: docs/predictors.md. Early stopping is off: a fixed number of epochs, so that two
programs do the same work. Prints one line of JSON: test MAE in users, and the epochs done.
"""

import argparse
import csv
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tf_keras as keras

WINDOW = 7
UNITS = 100


def windows(values):
    count = len(values) - WINDOW
    x = np.stack([values[i : i + WINDOW] for i in range(count)])
    return x[:, :, None], values[WINDOW:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trace", required=True)
    parser.add_argument("--column", default="users")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()

    with open(arguments.trace, newline="") as file:
        users = np.array([float(row[arguments.column]) for row in csv.DictReader(file)])
    # The original fits its scaler on all rows, the test part included.
    low, high = users.min(), users.max()
    scaled = ((users - low) / (high - low)).astype(np.float32)
    cut = int(0.8 * len(users))
    x, y = windows(scaled[:cut])
    x_test, y_test = windows(scaled[cut:])

    keras.utils.set_random_seed(arguments.seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((WINDOW, 1)),
            layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True)),
            layers.Bidirectional(layers.LSTM(UNITS)),
            layers.Dense(1),
        ]
    )
    model.compile(optimizer="adam", loss="mse")
    model.fit(x, y, batch_size=128, epochs=arguments.epochs, validation_split=0.2, verbose=0)
    os.makedirs(arguments.out, exist_ok=True)
    model.save(os.path.join(arguments.out, "model.h5"))
    error = np.abs(model.predict(x_test, verbose=0)[:, 0] - y_test).mean() * (high - low)
    print(json.dumps({"mae": float(error), "epochs": arguments.epochs}))


if __name__ == "__main__":
    main()
