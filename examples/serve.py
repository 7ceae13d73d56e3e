"""A model in a service: save it, load a Scorer, score single rows, tables and candidates, and replace the model.

Made clicks stand for a log, as a table of eight columns of categories; the probability that each was drawn with is
known. The first model has seen little; the second takes its place while four threads go on asking. A web framework
would add no more than who calls.

    python examples/serve.py
"""

import tempfile
import threading
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from fastfm_deep import FMClassifier, InputError, Scorer, SparseFeat, TableEncoder
from fastfm_deep.datasets import make_ctr

N_TRAIN, N_EARLY = 150_000, 5_000
CONTEXT = ["user", "device", "hour", "city"]  # of a request
ITEM = ["site", "brand", "genre", "item"]  # of what may be shown

# The log: each row has one category of each column.
X, clicked, _, truth = make_ctr(200_000, 8, n_features=2_000, noise=0.0, random_state=1, return_truth=True)
log = dict(zip(CONTEXT + ITEM, X.indices.reshape(-1, 8).T, strict=True))
part = {name: column[N_TRAIN:] for name, column in log.items()}
row = {name: int(column[0]) for name, column in part.items()}


def train(n_rows):
    """A model of the first rows of the log."""
    encoder = TableEncoder([SparseFeat(name, min_count=2) for name in log])
    model = FMClassifier(16, encoder=encoder, n_epochs=5, n_jobs=1, random_state=0)
    return model.fit({name: column[:n_rows] for name, column in log.items()}, clicked[:n_rows])


def show_auc(title):
    """How well the scorer ranks the rows that no model has seen."""
    auc, best = (roc_auc_score(clicked[N_TRAIN:], p) for p in (scorer.score(part), truth[N_TRAIN:]))
    print(f"{title}: AUC {auc:.3f} (the truth itself: {best:.3f})")


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "clicks.safetensors"
    train(N_EARLY).save(path)

    # When the service starts: everything is loaded and compiled before the first request.
    scorer = Scorer.load(path).warm_up()
    show_auc("the first model")

    # A request: one row, a dict. Categories that nobody has seen are fine, missing columns are not.
    print(f"one row: {scorer.score_dict(row):.3f}, log-odds {scorer.score_dict(row, raw=True):.3f}")
    print(f"a user and an item that are new: {scorer.score_dict(row | {'user': -1, 'item': -2}):.3f}")
    try:
        scorer.score_dict({"user": 7})
    except InputError as error:
        print(f"refused: {error}")

    # A better model takes its place while threads score.
    first, stop, answers = scorer.score_dict(row), threading.Event(), [set() for _ in range(4)]

    def ask(found):
        while not stop.is_set():
            found.add(scorer.score_dict(row))

    threads = [threading.Thread(target=ask, args=(found,)) for found in answers]
    for thread in threads:
        thread.start()
    model = train(N_TRAIN)
    model.save(path)  # a new file takes the place of the old one, which the scorer still has
    scorer.reload()
    second = scorer.score_dict(row)
    stop.set()
    for thread in threads:
        thread.join()
    others = set.union(*answers) - {first, second}
    print(f"answers while it was replaced: {first:.3f}, {second:.3f}; any other: {'yes' if others else 'none'}")
    show_auc("the second model")

    # Which items for this request? What the items add by themselves is added up once.
    items = {name: column[:1000] for name, column in part.items() if name in ITEM}
    candidates = scorer.prepare(items)
    ids, scores = scorer.rank({name: row[name] for name in CONTEXT}, candidates, n=5)
    print("the best of 1,000 items:")
    for place, score in zip(ids.tolist(), scores.tolist(), strict=True):
        whole = row | {name: int(column[place]) for name, column in items.items()}
        print(f"  {place:4}  {score:.3f}  as a row of its own {scorer.score_dict(whole):.3f}")

    # The same model in fewer bytes: int8 factors.
    small = Path(folder) / "small.safetensors"
    model.save(small, dtype="int8", prune=0.0)
    sizes = [file.stat().st_size / 1000 for file in (path, small)]
    change = np.abs(Scorer.load(small).score(part) - scorer.score(part)).max()
    print(f"{sizes[0]:.0f} kB and {sizes[1]:.0f} kB; largest change of a probability: {change:.4f}")
