"""Deep hash embedding: an id's k hashes, decoded by an MLP. Source: [MPREC] B2."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.spec import Choice, Decode, Dhe, Feature, Hash, Model, Op, PlanError, Table

from .tables import chosen, with_tables

# a * id + b must fit in 63 bits.
_LARGEST = 2**63 - 1


class DheRepresentation:
    """One encoder and decoder a table."""

    name = "dhe"

    def hold(self, model: Model, features: Sequence[str], choice: Choice | None = None) -> Model:
        """Tables computed by DHE, the i-th of them with the choice's draw + i.

        Raises:
            PlanError: as `settled`.
        """
        dhe = chosen(self.name, choice, Dhe())
        assert isinstance(dhe, Dhe)
        return with_tables(
            model,
            features,
            lambda table, at: replace(table, computed=settled(replace(dhe, draw=dhe.draw + at), table.rows)),
        )

    def lower(self, feature: Feature, model: Model) -> tuple[Op, ...]:
        """Hash, then decode."""
        table = model.table_of(feature)
        assert isinstance(table.computed, Dhe)
        return ops(table.computed, feature.name, table)

    def build(self, table: Table, seed: int) -> dict[str, NDArray[np.generic]]:
        """Untrained parameters, in float32: hashes as the record says, layers as the published code draws them.

        W ~ N(0, 2 / (in + out)), bias ~ N(0, 1 / out).
        """
        dhe = table.computed
        assert isinstance(dhe, Dhe)
        a_K, b_K = hashes(dhe)
        found: dict[str, NDArray[np.generic]] = {"a": a_K, "b": b_K}
        draw = np.random.default_rng(seed)
        for parameter in table.parameters[2:]:
            kind = parameter.name.rpartition(".")[2]
            if parameter.name.startswith("norm."):
                values = np.full(parameter.shape, float(kind in ("weight", "variance")))
            else:
                spread = 2 / sum(parameter.shape) if kind == "weight" else 1 / parameter.shape[0]
                values = draw.normal(0, np.sqrt(spread), parameter.shape)
            found[parameter.name] = values.astype(np.float32)
        return found


def ops(dhe: Dhe, feature: str, table: Table) -> tuple[Op, ...]:
    """Hash, then decode."""
    return Hash(feature, table.name, dhe.k, dhe.transform), Decode(feature, table.name, dhe.widths(table.dim))


def settled(dhe: Dhe, rows: int) -> Dhe:
    """`dhe` with a prime for a table of `rows`, checked.

    Without one it takes the first prime above both the buckets and the largest id, so that no two ids share all
    their hashes. (The published code takes the first above the buckets, 1,000,003: its ids x and x + 1,000,003
    get one embedding.)

    Raises:
        PlanError: k is odd for a Gaussian transform, or a hash would not fit in 63 bits.
    """
    found = dhe if dhe.prime else replace(dhe, prime=prime_above(max(dhe.buckets, rows - 1)))
    if found.transform == "gaussian" and found.k % 2:
        raise PlanError("represent", f"a Gaussian DHE of k = {found.k} has a hash without partner", "Make k even.")
    if found.k < 1 or found.buckets < 2 or found.prime < found.buckets:
        raise PlanError(
            "represent",
            f"a DHE of k = {found.k}, {found.buckets} buckets and prime {found.prime}: wanted k of at least 1, "
            "2 buckets, and a prime no smaller than the buckets",
            "Correct the settings, or leave prime at 0.",
        )
    if (found.prime - 1) * rows + found.prime > _LARGEST:
        raise PlanError(
            "represent",
            f"hashes of {rows} rows modulo {found.prime} do not fit in 63 bits",
            "Use a smaller prime, or map ids to fewer rows.",
        )
    return found


def hashes(dhe: Dhe) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """a [k] in [1, prime - 1] and b [k] in [0, prime - 1]: pair by pair from Python's generator after `seed`."""
    generator = random.Random(dhe.seed)
    pairs: list[tuple[int, int]] = []
    for _ in range(dhe.draw + 1):
        pairs = [(generator.randint(1, dhe.prime - 1), generator.randint(0, dhe.prime - 1)) for _ in range(dhe.k)]
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()


def prime_above(number: int) -> int:
    """The first prime above `number`."""
    candidate = max(number + 1, 2)
    while not _is_prime(candidate):
        candidate += 1
    return candidate


def _is_prime(number: int) -> bool:
    """Miller-Rabin with bases that decide every number below 3.3e24 (Sorenson and Webster, 2015)."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
    if number < 2:
        return False
    for base in bases:
        if number % base == 0:
            return number == base
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, base, odd, twos) for base in bases)


def _passes(number: int, base: int, odd: int, twos: int) -> bool:
    x = pow(base, odd, number)
    if x in (1, number - 1):
        return True
    for _ in range(twos - 1):
        x = x * x % number
        if x == number - 1:
            return True
    return False
