"""Quantities that all four flows share."""

from __future__ import annotations

from recsmith.spec import Access, Gather, Request, Role, Shard, Stream, Table, Work

ID_BYTES = 8
ELEMENT_BYTES = 4


def lookups(table: Table, shard: Shard, samples: float, access: Access) -> float:
    """Expected look-ups that fall in `shard`: ids scatter over the table, so a shard draws its share of rows."""
    return samples * access.pooling_factor * shard.rows / table.rows


def rows_read(role: Role, table: Table, shard: Shard, count: float, access: Access) -> Request:
    """`count` random reads of the shard's rows from the memory that plays `role`."""
    return Request(
        role=role,
        row_bytes=table.format.row_bytes(table.dim),
        count=count,
        popularity=access.ids.popularity(shard.rows),
        rows=shard.label,
        dtype=table.format.dtype,
        dim=table.dim,
    )


def row_a_lookup(
    source: Role,
    op: Gather,
    table: Table,
    shard: Shard,
    samples: float,
    access: Access,
    *,
    streams: tuple[Stream, ...] = (),
    kept_bytes: float = 0.0,
) -> Work:
    """One random row read per look-up from what plays `source`, and the vectors written.

    Args:
        streams: what is read in order besides.
        kept_bytes: of the shard that stay in the core's local memory.
    """
    count = lookups(table, shard, samples, access)
    return Work(
        requests=(rows_read(source, table, shard, count, access),),
        streams=streams,
        kept_bytes=kept_bytes,
        ids_bytes=ids_bytes(samples, access),
        written_bytes=written_bytes(op, table, samples, access),
        vectors=vectors(op, samples, access),
        flops=2 * count * table.dim,
    )


def shard_bytes(table: Table, shard: Shard) -> int:
    """Bytes of the shard's rows as they are stored."""
    return shard.rows * table.format.stride_bytes(table.dim)


def ids_bytes(samples: float, access: Access) -> float:
    """Bytes of ids read: every core that serves a shard reads all ids of its samples to find its own."""
    return samples * access.pooling_factor * ID_BYTES


def written_bytes(op: Gather, table: Table, samples: float, access: Access) -> float:
    """Bytes of output."""
    return vectors(op, samples, access) * table.dim * ELEMENT_BYTES


def vectors(op: Gather, samples: float, access: Access) -> float:
    """Vectors of output: one a sample, or one an id without pooling."""
    return samples * access.pooling_factor if op.pooling == "none" else samples


def chunk_rows(table: Table, staging_bytes: int) -> int:
    """Rows of a chunk that fits in `staging_bytes`, at least one."""
    return max(1, staging_bytes // table.format.stride_bytes(table.dim))
