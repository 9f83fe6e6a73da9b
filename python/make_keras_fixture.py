#!/usr/bin/env python3
"""Makes tests/data/predictor: a small predictor saved by Keras itself, and what Keras predicts with it.

    pip install tensorflow-cpu==2.21.0 tf_keras==2.21.0 h5py
    python python/make_keras_fixture.py tests/data/predictor

tf_keras is the Keras 2 line, which the original predictor was written with: the file gets the same
layout (HDF5 superblock 0, old-style groups). The weights are drawn at random and far larger than
training would leave them, so that the gates saturate; the network has 3 units, so that it is small.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tf_keras as keras

UNITS = 3
WINDOW = 7
DATA_MIN, DATA_MAX = 5.0, 93.0


def build():
    """The original's layers; its compile settings put optimiser weights into the file too."""
    model = keras.Sequential(
        [
            keras.layers.Bidirectional(
                keras.layers.LSTM(UNITS, return_sequences=True), input_shape=(WINDOW, 1)
            ),
            keras.layers.Bidirectional(keras.layers.LSTM(UNITS)),
            keras.layers.Dense(1),
        ]
    )
    model.compile(loss="mse", optimizer=keras.optimizers.legacy.Adam())
    return model


def windows(rng):
    rows = [np.full(WINDOW, value) for value in (0.0, 5.0, 40.0, 93.0, 500.0)]
    rows += [np.linspace(10, 90, WINDOW), np.linspace(90, 10, WINDOW)]
    rows += [np.where(np.arange(WINDOW) == at, 80.0, 12.0) for at in range(WINDOW)]
    rows += [rng.integers(5, 94, WINDOW).astype(float) for _ in range(14)]
    rows += [np.round(rng.uniform(0, 100, WINDOW), 3) for _ in range(6)]
    rows += [np.round(rng.uniform(-2000, 2000, WINDOW), 1) for _ in range(6)]
    return np.array(rows)


def main(folder):
    rng = np.random.default_rng(20)
    build()  # So that the numbers in the layers' names do not begin at nothing.
    model = build()
    model.fit(np.zeros((2, WINDOW, 1)), np.zeros((2, 1)), verbose=0)
    model.set_weights([rng.normal(0, 0.8, w.shape).astype(np.float32) for w in model.get_weights()])
    model.save(os.path.join(folder, "tiny.h5"))

    scale = 1.0 / (DATA_MAX - DATA_MIN)
    minimum = 0.0 - DATA_MIN * scale
    with open(os.path.join(folder, "tiny.csv"), "w") as out:
        header = ["id"] + [f"x{i}" for i in range(WINDOW)]
        out.write(",".join(header + ["scaled_prediction", "prediction_users"]) + "\n")
        for index, window in enumerate(windows(rng)):
            scaled = (window * scale + minimum).astype(np.float32)
            p = model(scaled.reshape(1, WINDOW, 1)).numpy()[0, 0]
            t = np.float32(np.float64(p) - minimum)
            users = np.float32(np.float64(t) / scale)
            cells = [f"w{index:02}"] + [repr(float(x)) for x in window] + [str(p), str(users)]
            out.write(",".join(cells) + "\n")
    with open(os.path.join(folder, "tiny_scaler.json"), "w") as out:
        out.write(
            f'{{"data_min": {DATA_MIN}, "data_max": {DATA_MAX}, "feature_range": [0, 1], '
            f'"scale": {scale!r}, "min": {minimum!r}}}\n'
        )


main(sys.argv[1])
