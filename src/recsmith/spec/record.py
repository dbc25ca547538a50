"""The base of every noun: frozen, slotted, compared by value, JSON both ways, with a stable digest."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import msgspec

from .errors import FormatError


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base class of the nouns in `recsmith.spec`.

    Fields are plain data, other records, tuples of them, or `fractions.Fraction` (written as "1/3").
    """

    def to_json(self) -> str:
        """The record as indented JSON, meant to be read, edited and diffed."""
        return msgspec.json.format(_ENCODER.encode(self), indent=2).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The record written by `to_json`.

        Raises:
            FormatError: the text is not JSON, or a field is unknown, missing or of the wrong type.
        """
        try:
            return msgspec.json.decode(text, type=cls, dec_hook=_decode_fraction)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FormatError(
                "read",
                f"this is not a {cls.__name__}: {error}",
                "Compare the named field with one written by this version, or write the file again.",
            ) from error

    def save(self, path: str | Path) -> Path:
        """Write `to_json` to `path` and return it. A file is replaced whole, whatever interrupts the writing."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        written = target.with_name(target.name + ".partial") if target.is_file() or not target.exists() else target
        written.write_text(self.to_json() + "\n")
        if written is not target:
            written.replace(target)
        return target

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The record saved at `path`.

        Raises:
            FormatError: the file is absent or is not such a record.
        """
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise FormatError("read", f"cannot open '{path}': {reason}", "Check the path.") from error
        try:
            return cls.from_json(text)
        except FormatError as error:
            raise FormatError("read", f"'{path}': {error.problem}", error.remedy) from error

    def claim(self, path: str | Path, op: str, holder: str) -> None:
        """Save these settings at `path`, or find them there: what may be resumed later has to be asked the same.

        Args:
            op: who asks, for the error.
            holder: what the folder holds then, such as "a run".

        Raises:
            FormatError: other settings are saved there; says which fields differ.
        """
        target = Path(path)
        if not target.is_file():
            self.save(target)
            return
        found = self.open(target)
        if found != self:
            names = [name for name in self.__struct_fields__ if getattr(found, name) != getattr(self, name)]
            raise FormatError(
                op,
                f"'{target.parent}' holds {holder} with another {' and another '.join(names)}",
                "Ask the same to resume it, choose another folder, or start over with --restart.",
            )

    def digest(self) -> str:
        """Sixteen hexadecimal digits that stay the same across runs and machines for equal records."""
        return hashlib.sha256(_ENCODER.encode(self)).hexdigest()[:16]


def _encode_fraction(value: Any) -> str:
    if isinstance(value, Fraction):
        return str(value)
    raise NotImplementedError(f"records hold plain data, not {type(value).__name__}")


def _decode_fraction(wanted: type, value: Any) -> Any:
    if wanted is Fraction and isinstance(value, str | int):
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(f"'{value}' is not a fraction such as 1/3") from error
    raise NotImplementedError(f"cannot read a {wanted}")


_ENCODER = msgspec.json.Encoder(enc_hook=_encode_fraction, order="deterministic")
