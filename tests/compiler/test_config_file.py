"""`train --config` and `--save-config`: every option, there and back; what is wrong is named with its file and line."""

import click
import pytest

from spartanc.compiler.cli import main
from spartanc.compiler.config_file import OF_ONE_CALL
from spartanc.errors import UsageError
from support.cli import spartanc, spartanc_json
from support.encoders import sentiment, write_encoder, write_examples

TRAIN = main.commands["train"]
OPTIONS = {
    option.opts[0].removeprefix("--"): option for option in TRAIN.params if option.name not in ("config", "save_config")
}


@pytest.fixture
def requests(monkeypatch):
    """What the command asks for, without any training."""
    asked = []

    def stop(request):
        asked.append(request)
        raise UsageError("asked")

    monkeypatch.setattr("spartanc.models.training.train", stop)
    return asked


def another_value(option):
    """A value that is not the option's default."""
    if isinstance(option.type, click.Choice):
        return option.type.choices[-1]
    if isinstance(option.type, click.types.IntParamType):
        return 3
    if isinstance(option.type, click.types.FloatParamType):
        return 0.25
    return {"problem": "regression"}.get(option.name, f'a "{option.name}" \\ file é\x7f')


def words_of(names):
    for name in names:
        yield f"--{name}"
        if not OPTIONS[name].is_flag:
            yield str(another_value(OPTIONS[name]))


def test_every_option_goes_there_and_back(requests, tmp_path):
    file = tmp_path / "run.toml"
    # parents divides cells, and top-k is not above it
    words = [*words_of(OPTIONS), "--cells", "6", "--top-k", "2"]
    assert "asked" in spartanc("train", *words, "--save-config", file).output
    assert "asked" in spartanc("train", *words_of(OF_ONE_CALL), "--config", file).output
    assert requests[0] == requests[1]
    text = file.read_text()
    written = {line.partition(" = ")[0] for line in text.splitlines()[1:]}
    assert written == set(OPTIONS) - set(OF_ONE_CALL)
    spartanc("train", "--config", file, "--save-config", tmp_path / "again.toml")
    assert (tmp_path / "again.toml").read_text() == text


def test_defaults_are_written_and_what_has_none_is_left_out(requests, tmp_path):
    spartanc("train", "--backbone", "e", "--data", "d", "--out", "o", "--save-config", tmp_path / "run.toml")
    text = (tmp_path / "run.toml").read_text()
    assert "max-length = 128\n" in text and 'class-weights = "none"\n' in text
    assert "epochs" not in text and "learning-rate" not in text  # they depend on the rows
    spartanc("train", "--config", tmp_path / "run.toml")
    assert requests[0] == requests[1]


def test_the_command_line_wins_over_the_file(requests, tmp_path):
    (tmp_path / "run.toml").write_text('backbone = "e"\ndata = "d"\nout = "o"\nseed = 4\nepochs = 2\n')
    spartanc("train", "--seed", "5", "--config", tmp_path / "run.toml", "--data", "other")
    (request,) = requests
    assert (request.settings.seed, request.settings.epochs, str(request.data)) == (5, 2, "other")
    assert str(request.backbone) == "e" and request.adapt is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# first\nepocs = 3", "line 2: `epocs` is no option of `train`\nhint: did you mean `epochs`?"),
        ("zzz = 3", "`zzz` is no option of `train`\nhint: `spartanc train --help`"),
        ('config = "other.toml"', "line 1: `config` is no option"),
        ('epochs = "3"', 'line 1: `epochs` must be a number, got `"3"`'),
        ("epochs = true", "`epochs` must be a number, got `true`"),
        ("\nseed = 1.5", "line 2: `seed` must be a whole number, got `1.5`"),
        ("no-samples = 1", "`no-samples` must be true or false, got `1`"),
        ("html = 3", "`html` must be a string, got `3`"),
        ("batch-size = 0", "`batch-size`: 0 is not in the range"),
        ('precision = "fp8"', "`precision`: 'fp8' is not one of"),
        ("[memory]\ncells = 48", "line 1: `memory` is no option"),
        ("seed = \nepochs = 1", "is not a TOML file: Invalid value (at line 1"),
    ],
)
def test_what_is_wrong_is_named(requests, tmp_path, text, said):
    (tmp_path / "run.toml").write_text(text)
    result = spartanc("train", "--config", tmp_path / "run.toml", "--backbone", "e", "--data", "d", "--out", "o")
    assert result.exit_code == 2 and requests == []
    assert said in result.stderr and str(tmp_path / "run.toml") in result.stderr


def test_a_file_that_is_not_there_and_one_that_is_something_else(requests, tmp_path):
    assert "No such file" in spartanc("train", "--config", tmp_path / "none.toml").stderr
    rows = write_examples(tmp_path / "rows.jsonl", sentiment(2, 1))
    before = rows.read_bytes()
    result = spartanc("train", "--backbone", "e", "--data", "d", "--out", "o", "--save-config", rows)
    assert result.exit_code == 2 and "is not a TOML file" in result.stderr and requests == []
    assert rows.read_bytes() == before


def test_a_saved_training_gives_the_same_bytes(tmp_path):
    encoder = write_encoder(tmp_path / "encoder")
    data = write_examples(tmp_path / "train.jsonl", sentiment(40, 1))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    how = ["--epochs", "1", "--batch-size", "16", "--learning-rate", "0.01", "--seed", "3"]
    words = ["--backbone", encoder, "--data", data, "--out", tmp_path / "one" / "model.pt", *how]
    spartanc_json("train", *words, "--save-config", tmp_path / "run.toml")
    spartanc_json("train", "--config", tmp_path / "run.toml", "--out", tmp_path / "two" / "model.pt")
    one, two = ((tmp_path / folder / "model.pt").read_bytes() for folder in ("one", "two"))
    assert one == two
