"""What is seen of a training: a line an evaluation, and on a terminal a bar with loss, rate, speed and time left."""

import os
import pty
import re
import subprocess
import sys

from spartanc.models.memory import SpartanConfig
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from support.encoders import sentiment, write_encoder, write_examples

LINE = (
    r"epoch (\d): accuracy 0\.\d{4}, loss \d\.\d{4}, training loss \d\.\d{4}, "
    r"rate [\d.e-]+, [\d,]+ rows/s, (\d+:\d\d) left"
)


def test_without_a_terminal_every_epoch_is_a_line(tmp_path):
    encoder = write_encoder(tmp_path / "encoder")
    data = write_examples(tmp_path / "train.jsonl", sentiment(32, 1))
    lines = []
    settings = TrainSettings(epochs=2, batch_size=8)
    memory = SpartanConfig(4, 8, 2)
    train(TrainRequest(encoder, data, data, tmp_path / "model.pt", settings, False, memory), lines.append)
    told = [re.fullmatch(LINE, line) for line in lines if line.startswith("epoch")]
    assert [line[1] for line in told] == ["1", "2"]
    assert told[-1][2] == "0:00"


def test_a_terminal_shows_a_bar(tmp_path):
    """A real one, in a process of its own; what it shows goes away when the training ends."""
    encoder = write_encoder(tmp_path / "encoder")
    data = write_examples(tmp_path / "train.jsonl", sentiment(160, 1))
    dev = write_examples(tmp_path / "dev.jsonl", sentiment(16, 2))
    main, other = pty.openpty()
    words = ["--backbone", encoder, "--data", data, "--eval", dev, "--out", tmp_path / "model.pt", "--epochs", "2"]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "160"}
    command = [sys.executable, "-m", "spartanc", "train", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=other, stdin=other, env=environment)
    os.close(other)
    shown = b""
    while True:
        try:
            shown += os.read(main, 65536)
        except OSError:  # EIO: the other side is closed
            break
    os.close(main)
    assert process.wait(timeout=60) == 0, shown
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"training .*\d+/40 loss \d\.\d{4}, rate [\d.e-]+, [\d,]+ rows/s \d:\d\d:\d\d", text), text[-2000:]
