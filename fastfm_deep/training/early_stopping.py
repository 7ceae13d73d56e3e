"""Early stopping: which epoch was the best so far, and when to give up waiting for a better one."""

from __future__ import annotations


class BestEpoch:
    """The best score seen, and how long ago."""

    def __init__(self, greater_is_better: bool, patience: int | None) -> None:
        self.greater_is_better = greater_is_better
        self.patience = patience
        self.epoch = 0
        self.score: float | None = None

    def improves(self, epoch: int, score: float) -> bool:
        """Take note of the score of an epoch; whether it is better than all before. NaN never is."""
        if score != score:
            return False
        if self.score is not None and (score <= self.score if self.greater_is_better else score >= self.score):
            return False
        self.epoch, self.score = epoch, score
        return True

    def is_over(self, epoch: int) -> bool:
        """Whether `patience` epochs have passed without a better score."""
        return self.patience is not None and epoch - self.epoch >= self.patience
