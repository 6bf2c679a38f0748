import numpy as np
import pytest
from quality import probes
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


@pytest.fixture(scope="module")
def digits():
    features, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return features[order].astype(np.float32), labels[order]


def test_the_linear_probe_is_scikit_learns(digits):
    features, labels = digits
    strength = 1e-3
    rows = StandardScaler().fit_transform(features[:1200])
    theirs = LogisticRegression(C=1 / (1200 * strength), tol=1e-8, max_iter=5000)
    theirs.fit(rows, labels[:1200])

    ours = probes.fit(features[:1200], labels[:1200], strength)

    centred = ours.weights - ours.weights.mean(axis=1, keepdims=True)
    coefficients = theirs.coef_.T - theirs.coef_.T.mean(axis=1, keepdims=True)
    assert np.abs(centred - coefficients).max() < 0.02 * np.abs(coefficients).max()
    scaled = (features[1200:] - ours.mean) * ours.scale
    same = ours.named(features[1200:]) == theirs.predict(scaled)
    assert same.mean() > 0.995


def test_a_silent_feature_changes_nothing(digits):
    features, labels = digits
    more = np.concatenate([features, np.full((len(features), 1), 7.0, np.float32)], 1)

    without, beside = (probes.fit(one, labels, 1e-2) for one in (features, more))

    assert (without.named(features) == beside.named(more)).all()


def test_the_penalty_is_the_one_that_does_best_on_held_out_features(digits):
    features, labels = digits
    held_out = np.arange(len(labels)) % 5 == 0

    chosen = probes.choose(features, labels, held_out)

    assert chosen.tried[chosen.strength] == max(chosen.tried.values())
    assert len(chosen.tried) > probes.PATIENCE
    again = probes.fit(features, labels, chosen.strength)
    assert np.abs(again.weights - chosen.probe.weights).max() < 0.02


def test_neighbours_are_those_of_brute_force(digits):
    features, labels = digits
    known, judged = features[:600], features[600:700]

    found = probes.neighbours(known, labels[:600], judged, batch=33)

    for row, name in zip(judged, found, strict=True):
        cosine = known @ row / np.linalg.norm(known, axis=1) / np.linalg.norm(row)
        votes = np.zeros(10)
        for place in np.argsort(-cosine)[: probes.NEIGHBOURS]:
            votes[labels[place]] += np.exp(cosine[place] / probes.TEMPERATURE)
        assert name == votes.argmax()


def test_fewer_images_than_neighbours_all_vote():
    known = np.eye(3, dtype=np.float32)

    named = probes.neighbours(known, np.array([2, 0, 1]), known)

    assert named.tolist() == [2, 0, 1]
