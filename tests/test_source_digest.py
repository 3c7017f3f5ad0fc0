"""The digest of source code: what cannot change a result leaves it alone, and what can changes it."""

from __future__ import annotations

import pytest

from squeezebench.base import source

FILES = {
    "nn/__init__.py": '''"""Docs."""
import lazy_loader
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"a": ["scale"]})
''',
    "nn/a.py": '''"""Docs of a."""

FACTOR = 2  # of the scale


def scale(x):
    """Docs of scale."""
    if x < 0:
        raise ValueError(f"give at least 0 (got {x})")
    return FACTOR * x
''',
    "nn/b.py": """def scale(x):
    return 3 * x


def shift(x):
    return x + 1
""",
    "nn/c.py": """from squeezebench import nn
from squeezebench.nn import a
from squeezebench.nn.a import scale
from squeezebench.schema.settings import setting


class Settings:
    rate: float = setting(0.1, "learning rate of the masks", gt=0)


def both(x):
    from squeezebench.nn.b import shift

    return scale(shift(x)) + a.FACTOR + nn.scale(x)
""",
    "nn/kernel.c": "int f(int x) { /* one */ return x; }\n",
}


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """The digest of FILES with some of them changed; every call writes a package of its own."""
    monkeypatch.setenv("SQUEEZEBENCH_CACHE", str(tmp_path / "cache"))

    def of(changed=None, place=None):
        package = (place or tmp_path / f"tree{len(list(tmp_path.iterdir()))}") / "squeezebench"
        monkeypatch.setattr(source, "PACKAGE", package)
        for name, text in (FILES | (changed or {})).items():
            if text is not None:
                (package / name).parent.mkdir(parents=True, exist_ok=True)
                (package / name).write_text(text)
        return source.digest_of_package(["nn"])

    return of


def edit(name: str, *pairs: tuple[str, str]) -> dict[str, str]:
    text = FILES[name]
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return {name: text}


A, B, C = "nn/a.py", "nn/b.py", "nn/c.py"
SCALE = FILES[A][FILES[A].index("def scale") :]


@pytest.mark.parametrize(
    "changed",
    [
        edit(A, ("# of the scale", "# twice"), ("Docs of a.", "Other words."), ("Docs of scale.", "Words.")),
        edit(A, ("return FACTOR * x", "return (\n        FACTOR * x\n    )")),
        edit(A, ('f"give at least 0 (got {x})"', '"negative"')),
        edit(C, ("learning rate of the masks", "rate")),
        edit(C, ('setting(0.1, "learning rate of the masks", gt=0)', 'setting(0.1, gt=0, description="rate")')),
        {A: FILES[A].replace(SCALE, ""), "nn/moved.py": SCALE}
        | edit(C, ("nn.a import scale", "nn.moved import scale"))
        | edit("nn/__init__.py", ('"a"', '"moved"')),
        {B: FILES[B][FILES[B].index("def shift") :] + "\n\n" + FILES[B][: FILES[B].index("def shift")]},
        {"nn/kernel.c": "int f(int x) {\n  // two\n  return x;\n}\n"},
    ],
    ids=["words", "formatting", "error", "description", "description by name", "moved", "order", "C"],
)
def test_what_cannot_change_a_result_leaves_the_digest_alone(digest, changed):
    assert digest(changed) == digest()


@pytest.mark.parametrize(
    "changed",
    [
        edit(A, ("FACTOR * x", "FACTOR + x")),
        edit(A, ("FACTOR = 2", "FACTOR = 4")),
        edit(A, ("ValueError", "KeyError")),
        edit(C, ("setting(0.1", "setting(0.2")),
        edit(C, ("gt=0", "gt=1")),
        edit(C, ("nn.a import scale", "nn.b import scale")),
        edit(C, ("from squeezebench.nn import a\n", "from squeezebench.nn import b as a\n")),
        edit("nn/__init__.py", ('"a"', '"b"')),
        {"nn/kernel.c": FILES["nn/kernel.c"].replace("return x", "return -x")},
    ],
    ids=["code", "constant", "kind of error", "default", "limit", "import", "module", "handed on", "C"],
)
def test_what_can_change_a_result_changes_the_digest(digest, changed):
    assert digest(changed) != digest()


def test_a_name_that_is_handed_on_twice_leads_to_its_definition(digest):
    """Two packages hand on a name of their own: an import from the other one is another definition."""
    hands_on = {"nn/x.py": "from squeezebench.nn.a import scale\n", "nn/y.py": "from squeezebench.nn.b import scale\n"}
    through = [edit(C, ("nn.a import scale", f"nn.{name} import scale")) for name in "xy"]
    assert digest(hands_on | through[0]) != digest(hands_on | through[1])


def test_the_cache_is_of_the_bytes_that_are_there(digest, tmp_path):
    place = tmp_path / "same"
    first = digest(place=place)
    kept = list((tmp_path / "cache").glob("source-*"))
    assert len(kept) == 1 and kept[0].read_text() == first == digest(place=place)
    assert digest(edit(A, ("FACTOR = 2", "FACTOR = 4")), place) != first
    kept[0].write_text("half")  # a damaged file is made anew
    assert digest(place=place) == first and kept[0].read_text() == first


def test_a_method_file_is_digested_by_its_code(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(FILES[A])
    first = source.digest_of_file(path)
    path.write_text(FILES[A].replace("Docs of scale.", "Other words."))
    assert source.digest_of_file(path) == first
    path.write_text(FILES[A].replace("FACTOR * x", "FACTOR + x"))
    assert source.digest_of_file(path) != first
    path.write_text("def broken(:\n")
    assert len(source.digest_of_file(path)) == 64
