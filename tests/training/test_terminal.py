"""What a training run says, in terminals of several widths."""

import dataclasses

import numpy as np
import pytest

import zoo.training.terminal
from zoo.training.step import Metrics
from zoo.training.terminal import Terminal

RECORD = {
    "epoch": 7,
    "seconds": 0.42,
    "images_per_second": 3158.0,
    "loss": 0.002,
    "accuracy": 1.0,
    "val_loss": 0.0574,
    "val_accuracy": 0.9896,
}
NUMBERS = "loss 0.0020  accuracy 100.00%  val_loss 0.0574  val_accuracy 98.96%"
SHORT = NUMBERS.replace("accuracy", "acc")


@pytest.mark.parametrize(
    ("room", "line"),
    [
        (None, f"epoch  7/30     0.4 s    3,158 images/s  {NUMBERS}"),  # no terminal
        (120, f"epoch  7/30     0.4 s    3,158 images/s  {NUMBERS}"),
        (100, f"epoch  7/30     0.4 s  {NUMBERS}"),
        (80, f"epoch  7/30   0.4 s  {SHORT}"),
        (72, f"epoch  7/30  {SHORT}"),
        (60, "epoch  7/30  acc 100.00%  val_acc 98.96%"),
        (10, "epoch  7/30  acc 100.00%  val_acc 98.96%"),
    ],
)
def test_an_epoch_is_one_row(
    room: int | None,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(zoo.training.terminal, "columns", lambda stream: room)
    Terminal().epoch(RECORD, 30)
    assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize("room", range(60, 121))
def test_all_epochs_of_a_run_leave_out_the_same(room: int) -> None:
    texts = [
        zoo.training.terminal._epoch_text(RECORD | {"accuracy": value, "seconds": time}, 100, room)
        for value, time in ((0.05, 0.4), (0.5, 12.0), (1.0, 9.9))
    ]
    words = [[word for word in text.split() if word.isalpha()] for text in texts]
    assert words[0] == words[1] == words[2]
    assert max(map(len, texts)) <= room


def test_the_bar_of_many_seeds_stays_long(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = Metrics(*(np.array([7.0, 8.0, 9.0]) for _ in dataclasses.fields(Metrics)))
    texts = []
    for room in (140, 100, 60):
        monkeypatch.setattr(zoo.training.terminal, "columns", lambda stream, room=room: room)
        texts.append(zoo.training.terminal._beside_bar("epoch 7/30", 162_000, sums))
    one = "1.0000 ± 0.0000"
    assert texts == [f"loss {one}, accuracy 100.00% ± 0.00%", f"loss {one}", ""]
