"""The configuration of a plugin: one annotated dataclass gives the decoding with defaults, the checks and the JSON
Schema of the form on the page.

    @dataclass
    class Config:
        targets: list[str] = picket.field(required=True, format="hostport", doc="The hosts to ask.")
        interval: timedelta = picket.field(default="30s", min="1s", doc="Time between two questions.")
        mode: str = picket.field(default="fast", enum=["fast", "deep"], doc="How hard to look.")
        password: str = picket.field(secret=True, doc="Sent to each target.")

Types: str, bool, int, float, timedelta (written as "1m30s"), nested dataclasses, dict[str, str], and lists of these. min
and max bound the value of a number or a duration, the length of a text, the number of elements of a list or a dict; enum
and format apply to each element. Formats: cidr, url, hostport, host, duration.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import math
import re
import typing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Callable
from urllib.parse import urlsplit

from .errors import InvalidConfig

_DURATION_PATTERN = r"^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$"
_MAX_DEPTH = 32
_INT = (-(1 << 63), (1 << 63) - 1)
_KEY = "picket"


def field(*, default: Any = None, doc: str = "", required: bool = False, secret: bool = False,
          min: int | float | str | None = None, max: int | float | str | None = None,
          enum: list[Any] | tuple[Any, ...] = (), format: str = "", name: str = "") -> Any:
    """Declares a field of a configuration. default is as JSON has it ("30s" for a duration); name is the key when it
    differs from that of the attribute. A field without default that is left out has the zero value of its type."""
    options = {"default": default, "doc": doc, "required": required, "secret": secret, "min": min, "max": max,
               "enum": tuple(enum), "format": format, "name": name}
    return dataclasses.field(default=None, metadata={_KEY: options})


@dataclass
class _Type:
    kind: str  # string, bool, int, float, duration, list, map, object
    elem: "_Type | None" = None
    cls: type | None = None
    fields: "list[_Field]" = dataclasses.field(default_factory=list)


@dataclass
class _Field:
    attr: str
    name: str
    type: _Type
    doc: str = ""
    default: Any = None
    required: bool = False
    secret: bool = False
    min: Any = None
    max: Any = None
    enum: tuple[Any, ...] = ()
    format: str = ""


class ConfigError(TypeError):
    """The declaration of a configuration makes no sense. The author has to change it."""


def fields_of(cls: type | None) -> list[_Field]:
    """Reads the fields of a configuration class, none for None. Raises ConfigError."""
    if cls is None:
        return []
    if not dataclasses.is_dataclass(cls):
        raise ConfigError(f"{cls.__name__} must be a dataclass: put @dataclass above it")
    hints = typing.get_type_hints(cls)
    out: list[_Field] = []
    seen: set[str] = set()
    for f in dataclasses.fields(cls):
        spec = _field(f, hints[f.name])
        if not spec.name or spec.name in seen or any(c in spec.name for c in ".${}"):
            raise ConfigError(f"field {f.name} needs its own plain name")
        seen.add(spec.name)
        out.append(spec)
    return out


def _field(f: "dataclasses.Field[Any]", hint: Any) -> _Field:
    options = dict(f.metadata.get(_KEY) or {})
    if not options:
        if f.default is not dataclasses.MISSING:
            options["default"] = _as_json(f.default)
        elif f.default_factory is not dataclasses.MISSING:
            options["default"] = _as_json(f.default_factory())
    name = options.pop("name", "") or f.name
    spec = _Field(attr=f.name, name=name, type=_type_of(hint, f.name), **options)
    if spec.format and spec.format not in FORMATS:
        raise ConfigError(f"field {f.name}: unknown format {spec.format!r}")
    for bound in (spec.min, spec.max):
        if bound is None:
            continue
        if spec.type.kind in ("bool", "object"):
            raise ConfigError(f"field {f.name}: min and max have no meaning here")
        try:
            _limit(spec, bound)
        except (TypeError, ValueError) as e:
            raise ConfigError(f"field {f.name}: min or max: {e}") from None
    if spec.default is not None:
        if spec.required or spec.secret:
            raise ConfigError(f"field {f.name}: a required or secret field has no default")
        problem = _fits(spec.type, spec.default) or _check(spec, spec.default)
        if problem:
            raise ConfigError(f"field {f.name}: default: {problem}")
    return spec


def _as_json(v: Any) -> Any:
    if isinstance(v, timedelta):
        return format_duration(v)
    if isinstance(v, tuple):
        return list(v)
    return None if v in ("", {}) else v


def _type_of(hint: Any, name: str) -> _Type:
    simple = {str: "string", bool: "bool", int: "int", float: "float", timedelta: "duration"}
    if hint in simple:
        return _Type(simple[hint])
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _Type("object", cls=hint, fields=fields_of(hint))
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and len(args) == 1:
        return _Type("list", elem=_type_of(args[0], name))
    if origin is dict and args == (str, str):
        return _Type("map", elem=_Type("string"))
    raise ConfigError(f"field {name}: type {hint} is not supported")


# --- JSON Schema ---


def schema(cls: type | None) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a configuration class, with the words that the Go SDK uses."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_object_schema(fields_of(cls))}


def _object_schema(fields: list[_Field]) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
    for i, f in enumerate(fields):
        out["properties"][f.name] = {**_field_schema(f), "x-order": i}
    required = [f.name for f in fields if f.required]
    if required:
        out["required"] = required
    return out


def _field_schema(f: _Field) -> dict[str, Any]:
    s = _type_schema(f.type, f)
    if f.doc:
        s["description"] = f.doc
    if f.default is not None:
        s["default"] = f.default
    if f.secret:
        s |= {"writeOnly": True, "x-secret": True}
    words = {"int": ("minimum", "maximum"), "float": ("minimum", "maximum"), "string": ("minLength", "maxLength"),
             "list": ("minItems", "maxItems"), "map": ("minProperties", "maxProperties"),
             "duration": ("x-min", "x-max")}.get(f.type.kind)
    if words:
        s |= {word: v for word, v in zip(words, (f.min, f.max)) if v is not None}
    return s


def _type_schema(t: _Type, f: _Field) -> dict[str, Any]:
    if t.kind == "bool":
        return {"type": "boolean"}
    if t.kind == "duration":
        return {"type": "string", "pattern": _DURATION_PATTERN, "x-format": "duration"}
    if t.kind == "list":
        assert t.elem is not None
        return {"type": "array", "items": _type_schema(t.elem, f)}
    if t.kind == "map":
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if t.kind == "object":
        return _object_schema(t.fields)
    s: dict[str, Any] = {"type": {"int": "integer", "float": "number"}.get(t.kind, "string")}
    if f.enum:
        s["enum"] = list(f.enum)
    if f.format == "url":
        s["format"] = "uri"
    if f.format:
        s["x-format"] = f.format
    return s


# --- decoding ---


def decode(data: bytes | str, cls: type | None, secrets: dict[str, str] | None = None) -> Any:
    """A filled instance of the class: first the defaults, then the operator's JSON, then the secrets at their paths. An
    unknown or repeated key, a wrong type and a value outside its bounds are all reported together, each by its path, in
    an InvalidConfig. A class of None accepts only an empty object and gives None."""
    fields = fields_of(cls)
    tree = _parse(data)
    for path, secret in (secrets or {}).items():
        if path in secret_paths(fields):
            _put(tree, path, secret)
    problems: list[str] = []
    out = _object(problems, "", cls, fields, tree)
    if problems:
        raise InvalidConfig("configuration: " + "\n".join(problems))
    return out


def secret_paths(fields: list[_Field], path: str = "") -> list[str]:
    """The paths of the secret fields, for example "smtp.password"."""
    out = []
    for f in fields:
        if f.secret:
            out.append(_join(path, f.name))
        if f.type.kind == "object":
            out += secret_paths(f.type.fields, _join(path, f.name))
    return out


def _put(tree: dict[str, Any], path: str, value: str) -> None:
    *parents, last = path.split(".")
    for key in parents:
        if tree.get(key) is None:
            tree[key] = {}
        tree = tree[key]
        if not isinstance(tree, dict):
            raise InvalidConfig(f"configuration: secret {path}: {key} is not an object")
    tree[last] = value


class _Problem(ValueError):
    pass


def _parse(data: bytes | str) -> dict[str, Any]:
    text = data.decode("utf-8", "replace") if isinstance(data, (bytes, bytearray, memoryview)) else data
    if not text.strip():
        return {}

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, v in items:
            if key in out:
                raise _Problem(f"{_quote(key)}: key appears twice")
            out[key] = v
        return out

    def constant(word: str) -> Any:
        raise _Problem(f"not valid JSON: {word}")

    try:
        tree = json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_int=_Int)
    except _Problem as e:
        raise InvalidConfig(f"configuration: {e}") from None
    except RecursionError:
        raise InvalidConfig(f"configuration: nested deeper than {_MAX_DEPTH}") from None
    except ValueError as e:
        raise InvalidConfig(f"configuration: not valid JSON: {e}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InvalidConfig("configuration: must be a JSON object")
    if _depth(tree) > _MAX_DEPTH:
        raise InvalidConfig(f"configuration: nested deeper than {_MAX_DEPTH}")
    return tree


class _Int(int):
    """A whole number of JSON. One with more digits than any type holds becomes one just as much out of range."""

    def __new__(cls, text: str) -> "_Int":
        return super().__new__(cls, text if len(text) < 40 else text[:39])


def _depth(v: Any) -> int:
    deepest, todo = 0, [(v, 1)]
    while todo:
        v, n = todo.pop()
        if isinstance(v, (dict, list)):
            deepest = deepest if deepest > n else n
            todo += [(e, n + 1) for e in (v.values() if isinstance(v, dict) else v)]
    return deepest


def _object(problems: list[str], path: str, cls: type | None, fields: list[_Field], tree: dict[str, Any]) -> Any:
    values = {f.attr: _decode_field(problems, _join(path, f.name), f, tree.get(f.name)) for f in fields}
    known = {f.name for f in fields}
    problems += [f"{_join(path, _quote(k))}: unknown key" for k in sorted(tree) if k not in known]
    return cls(**values) if cls else None


def _decode_field(problems: list[str], path: str, f: _Field, v: Any) -> Any:
    if v is None:
        v = f.default
    if f.type.kind == "object" and v is None and not f.required:
        v = {}  # its fields have their own defaults
    if f.required and (v is None or v == "" or v == []):
        problems.append(f"{path}: is required")
        return _zero(f.type)
    if v is None or v == "" and f.default is None:
        return _zero(f.type)  # an optional field left blank, as forms send it
    before = len(problems)
    out = _value(problems, path, f.type, v)
    if len(problems) == before and (problem := _check(f, v)):
        problems.append(f"{path}: {problem}")
    return out


def _value(problems: list[str], path: str, t: _Type, v: Any) -> Any:
    if problem := _fits(t, v):
        problems.append(f"{path}: {problem}")
        return _zero(t)
    if t.kind == "duration":
        return timedelta(microseconds=duration_nanos(v) / 1000)
    if t.kind == "float":
        return float(v)
    if t.kind == "int":
        return int(v)
    if t.kind == "list":
        assert t.elem is not None
        return [_value(problems, f"{path}[{i}]", t.elem, e) for i, e in enumerate(v)]
    if t.kind == "map":
        assert t.elem is not None
        return {_clean(k): _value(problems, _join(path, _quote(k)), t.elem, e) for k, e in v.items()}
    if t.kind == "object":
        return _object(problems, path, t.cls, t.fields, v)
    return _clean(v) if t.kind == "string" else v


def _zero(t: _Type) -> Any:
    if t.kind == "object" and t.cls:
        return t.cls(**{f.attr: _zero(f.type) for f in t.fields})
    return {"string": "", "bool": False, "int": 0, "float": 0.0, "duration": timedelta(0), "list": [],
            "map": {}}.get(t.kind)


def _fits(t: _Type, v: Any) -> str:
    """What keeps a JSON value from being stored in the type, "" when nothing does."""
    whole = isinstance(v, int) and not isinstance(v, bool)
    if t.kind == "string" and not isinstance(v, str):
        return "must be a string"
    if t.kind == "bool" and not isinstance(v, bool):
        return "must be true or false"
    if t.kind == "duration" and (not isinstance(v, str) or _no_duration(v)):
        return 'must be a duration such as "30s" or "1m30s"'
    if t.kind == "int" and not (whole and _INT[0] <= v <= _INT[1]):
        return f"must be a whole number from {_INT[0]} to {_INT[1]}"
    if t.kind == "float":
        if not whole and not isinstance(v, float):
            return "must be a number"
        if not math.isfinite(v):
            return "must be a finite number"
    if t.kind == "list":
        if not isinstance(v, list):
            return "must be a list"
    if t.kind in ("map", "object") and not isinstance(v, dict):
        return "must be an object"
    return ""


def _check(f: _Field, v: Any) -> str:
    """What is wrong with a value that fits its type, "" when nothing is."""
    size, what = _size(f, v)
    if f.min is not None and size < _limit(f, f.min):
        return f"{what} must be at least {f.min}"
    if f.max is not None and size > _limit(f, f.max):
        return f"{what} must be at most {f.max}"
    if not isinstance(v, list):
        return _check_one(f, v)
    for i, e in enumerate(v):
        if problem := _check_one(f, e):
            return f"element {i} {problem}"
    return ""


def _limit(f: _Field, bound: Any) -> float:
    return duration_nanos(bound) if f.type.kind == "duration" else float(bound)


def _size(f: _Field, v: Any) -> tuple[float, str]:
    if isinstance(v, str):
        return (duration_nanos(v), "it") if f.type.kind == "duration" else (len(v), "its length")
    if isinstance(v, list):
        return len(v), "the number of elements"
    if isinstance(v, dict):
        return len(v), "the number of entries"
    return float(v), "it"


def _check_one(f: _Field, v: Any) -> str:
    if isinstance(v, bool) or not isinstance(v, (str, int, float)):
        return ""
    text = str(v)
    said = "the value" if f.secret else _quote(text)  # a secret must not end up in an error or a log
    if f.enum and v not in f.enum:
        return f"{said} must be one of {', '.join(str(e) for e in f.enum)}"
    if f.format and (problem := FORMATS[f.format](text)):
        return f"{said} {problem}"
    return ""


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _clean(s: str) -> str:
    return s.encode("utf-8", "replace").decode("utf-8")


def _quote(s: str) -> str:
    return json.dumps(_clean(s), ensure_ascii=False)


# --- durations ---

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")


def duration_nanos(text: str) -> int:
    """The nanoseconds of a duration such as "1m30s". Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a duration such as \"30s\"")
    rest, sign = text, 1
    if rest[:1] in ("+", "-"):
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return 0
    if not rest or len(rest) > 100:
        raise ValueError(f"{text!r} is not a duration such as \"30s\"")
    total = 0
    while rest:
        m = _PART.match(rest)
        if not m:
            raise ValueError(f"{text!r} is not a duration such as \"30s\"")
        whole, _, fraction = m[1].partition(".")
        unit = _UNITS[m[2]]
        total += int(whole or "0") * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        rest = rest[m.end() :]
    if total > _INT[1]:
        raise ValueError(f"{text!r} is longer than 290 years")
    return sign * total


def _no_duration(text: str) -> bool:
    try:
        duration_nanos(text)
    except ValueError:
        return True
    return False


def format_duration(d: timedelta) -> str:
    """A duration as text, for example "90s"."""
    us = (d.days * 86400 + d.seconds) * 10**6 + d.microseconds
    for unit, size in (("h", 3600 * 10**6), ("m", 60 * 10**6), ("s", 10**6), ("ms", 1000)):
        if us and us % size == 0:
            return f"{us // size}{unit}"
    return f"{us}us" if us else "0s"


# --- formats ---

_LABEL = re.compile(r"[a-zA-Z0-9_-]{1,63}\Z")


def _cidr(s: str) -> str:
    addr, slash, bits = s.partition("/")
    if slash and "%" not in s and bits.isascii() and bits.isdigit() and (bits == "0" or bits[0] != "0"):
        a = _address(addr)
        if a is not None and int(bits[:4]) <= a.max_prefixlen:
            return ""
    return "is not a network such as 192.168.1.0/24"


def _url(s: str) -> str:
    try:
        u = urlsplit(s)
        ok = bool(u.scheme and u.netloc) and s.isprintable()
    except ValueError:
        ok = False
    return "" if ok else "is not a URL such as https://example.org/path"


def _host(s: str) -> str:
    return "" if _is_host(s) else "is not a host name or an address"


def _hostport(s: str) -> str:
    host, colon, port = s.rpartition(":")
    if not colon:
        return "is not host:port"
    bare = host.removeprefix("[").removesuffix("]")
    ok = port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 1 << 16
    if not ok or not _is_host(bare) or (":" in bare) != s.startswith("["):
        return "is not host:port such as example.org:443 or [2001:db8::1]:443"
    return ""


def _address(s: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(s)
    except ValueError:
        return None


def _is_host(s: str) -> bool:
    if _address(s) is not None:
        return True
    if not s or len(s) > 253:
        return False
    return all(_LABEL.match(label) for label in s.removesuffix(".").split("."))


# FORMATS say what is wrong with a text, "" when nothing is.
FORMATS: dict[str, Callable[[str], str]] = {
    "cidr": _cidr,
    "url": _url,
    "host": _host,
    "hostport": _hostport,
    "duration": lambda s: "is not a duration such as 30s" if _no_duration(s) else "",
}
