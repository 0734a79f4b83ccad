from dataclasses import dataclass
from datetime import timedelta

import picket
import pytest
from picket import config


@dataclass
class Config:
    name: str = picket.field(required=True)
    pause: timedelta = picket.field(default="1m30s", min="1s")
    token: str = picket.field(secret=True, enum=["a", "b"])


def test_decodes():
    c = config.decode(b'{"name": "n"}', Config, {"token": "a", "other": "x"})
    assert c == Config("n", timedelta(seconds=90), "a")
    assert config.decode(b"", None) is None


def test_all_problems_at_once_and_no_secret_in_them():
    with pytest.raises(picket.InvalidConfig) as e:
        config.decode(b'{"pause": "1ms", "nmae": "n"}', Config, {"token": "hush"})
    for words in ("name: is required", "pause: it must be at least 1s", '"nmae": unknown key', "token: the value must be one of a, b"):
        assert words in str(e.value)
    assert "hush" not in str(e.value)


@pytest.mark.parametrize("declaration,words", [
    ({"default": 5}, "must be a string"), ({"format": "colour"}, "unknown format"), ({"required": True, "default": "x"}, "no default"),
    ({"min": "soon"}, "min or max"), ({"name": "a.b"}, "plain name"), ({"default": "x", "enum": ["y"]}, "one of"),
])
def test_a_declaration_that_makes_no_sense(declaration, words):
    @dataclass
    class Bad:
        x: str = picket.field(**declaration)

    with pytest.raises(config.ConfigError, match=words):
        config.schema(Bad)


@pytest.mark.parametrize("hint", [set, dict, tuple[int, ...], dict[str, int], "int | None"])
def test_types_that_are_not_supported(hint):
    Bad = dataclass(type("Bad", (), {"__annotations__": {"x": hint}, "x": picket.field()}))
    with pytest.raises(config.ConfigError, match="not supported"):
        config.schema(Bad)


@pytest.mark.parametrize("text,nanos", [
    ("0", 0), ("1h2m3.5s", 3723_500_000_000), ("-1.5ms", -1_500_000), ("+1us", 1000), (".5s", 500_000_000), ("1µs", 1000),
    ("", None), ("1", None), ("s", None), ("1 s", None), ("1d", None), ("9999999h", None), ("--1s", None),
])
def test_durations(text, nanos):
    if nanos is None:
        with pytest.raises(ValueError):
            config.duration_nanos(text)
    else:
        assert config.duration_nanos(text) == nanos
