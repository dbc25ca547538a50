"""What can be imported from the top is a promise; it changes on purpose or not at all."""

from pathlib import Path

import recsmith
import recsmith.spec

GOLDEN = Path(__file__).parents[1] / "golden" / "names.txt"


def listing() -> str:
    return "\n".join(sorted(recsmith.__all__)) + "\n"


def test_the_top_level_names_are_those_of_the_golden_file():
    """`python tests/arch/test_names.py` writes the file anew."""
    assert listing() == GOLDEN.read_text()


def test_there_are_at_most_fifteen_and_each_can_be_had():
    assert len(recsmith.__all__) <= 15
    assert [name for name in recsmith.__all__ if not callable(getattr(recsmith, name))] == []


def test_every_noun_in_spec_has_a_docstring():
    undocumented = [name for name in recsmith.spec.__all__ if isinstance(getattr(recsmith.spec, name), type)]
    assert [name for name in undocumented if not getattr(recsmith.spec, name).__doc__] == []


if __name__ == "__main__":
    GOLDEN.write_text(listing())
