"""Sizes and times are read and written as people do."""

import pytest

from recsmith.bench.units import parse_bytes, parse_seconds, show_bytes, show_count, show_seconds
from recsmith.spec import InputError


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("64GiB", 64 * 2**30), ("1.5 GB", 1_500_000_000), ("4096", 4096), ("2k", 2000), ("1 MiB", 2**20), ("7B", 7)],
)
def test_sizes_are_read(text, nbytes):
    assert parse_bytes(text) == nbytes


@pytest.mark.parametrize(("text", "seconds"), [("10ms", 0.01), ("60", 60), ("2 min", 120), ("5us", 5e-6), ("1h", 3600)])
def test_times_are_read(text, seconds):
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "GiB", "-3", "3 parsecs", "1e3", "nan"])
def test_nonsense_is_refused_with_an_example(text):
    with pytest.raises(InputError, match="Write it as"):
        parse_bytes(text)
    with pytest.raises(InputError, match="Write it as"):
        parse_seconds(text)


def test_sizes_are_shown():
    assert [show_bytes(n) for n in (0, 999, 1024, 1536, 2_161_000_000, 1023 * 1024)] == [
        "0 B", "999 B", "1 KiB", "1.5 KiB", "2.01 GiB", "1023 KiB",
    ]  # fmt: skip


def test_times_are_shown():
    assert [show_seconds(s) for s in (0, 3.2e-9, 4.125e-4, 0.0999, 1, 99.96)] == [
        "0", "3.20 ns", "412 µs", "99.9 ms", "1.00 s", "100 s",
    ]  # fmt: skip


def test_counts_are_grouped():
    assert show_count(33_762_577) == "33,762,577"
