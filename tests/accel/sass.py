"""What the compiler made of a kernel: instructions, registers and spills, read from the machine code itself.

NVIDIA's instructions have 16 bytes since Volta; the lowest byte says what each does (`test_machine_code` compares this
with NVIDIA's disassembler where there is one).
"""

import struct
from dataclasses import dataclass

NAMES = {
    0x80: "LD",
    0x81: "LDG",
    0x86: "STG",
    0x84: "LDS",
    0x88: "STS",
    0xAE: "LDGSTS",
    0x83: "LDL",
    0x87: "STL",
    0x3B: "LDSM",
    0x3C: "HMMA",
    0xF0: "HGMMA",
    0xF3: "QGMMA",
    0xC5: "WARPGROUP",
    0x47: "BRA",
    0x4D: "EXIT",
    0x21: "FADD",
    0x23: "FFMA",
    0x20: "FMUL",
}
# The same lowest byte with other bits above is another instruction.
FORMS = {
    "LD": (9,),
    "STG": (3, 9),
    "STL": (3, 9),
    "LDL": (3, 9),
    "LDSM": (8,),
    "HMMA": (2,),
    "HGMMA": (9,),
    "QGMMA": (9,),
    "WARPGROUP": (9,),
    "BRA": (9,),
    "EXIT": (9,),
}
# What keeps instructions before and after it apart.
ENDS = {"FADD", "FFMA", "FMUL", "STG", "STS", "BRA", "EXIT", "STL", "LDL", "WARPGROUP"}
WIDE = {"LD", "LDG", "STG", "LDS", "STS"}
BITS = {4: 32, 5: 64, 6: 128}
_REGISTERS = 0x2F


@dataclass(frozen=True)
class Code:
    """A kernel's machine code.

    Attributes:
        instructions: the names that are known, in order, "LDG.128" say; "" for others.
        registers: of a thread.
    """

    instructions: tuple[str, ...]
    registers: int

    def count(self, name: str) -> int:
        return sum(one.split(".")[0] == name for one in self.instructions)

    @property
    def spills(self) -> int:
        return self.count("LDL") + self.count("STL")

    def together(self, name: str) -> int:
        """The most instructions of a name that are issued before anything is computed, stored or decided."""
        most = run = 0
        for one in self.instructions:
            if one == name:
                run += 1
                most = max(most, run)
            elif one.split(".")[0] in ENDS:
                run = 0
        return most


def read(cubin: bytes, entry: str) -> Code:
    """The code of `entry` in a cubin (an ELF file)."""
    sections = _sections(cubin)
    text = sections[f".text.{entry}"]
    words = struct.unpack(f"<{len(text) // 8}Q", text)
    pairs = zip(words[::2], words[1::2], strict=True)
    return Code(tuple(_name(low, high) for low, high in pairs), _attribute(sections[".nv.info"], _REGISTERS))


def _name(low: int, high: int) -> str:
    name = NAMES.get(low & 0xFF, "")
    if low >> 8 & 0xF not in FORMS.get(name, range(16)):
        return ""
    if name in WIDE:
        return f"{name}.{BITS.get(high >> 9 & 7, 8)}"
    return name


def _sections(elf: bytes) -> dict[str, bytes]:
    offset, size, count, names_at = (*struct.unpack_from("<Q", elf, 0x28), *struct.unpack_from("<HHH", elf, 0x3A))
    headers = [struct.unpack_from("<IIQQQQ", elf, offset + at * size) for at in range(count)]
    names = headers[names_at]
    found = {}
    for name, kind, _, _, start, nbytes in headers:
        text = elf[names[4] + name : elf.index(b"\0", names[4] + name)].decode()
        found[text] = elf[start : start + nbytes] if kind != 8 else b""
    return found


def _attribute(info: bytes, wanted: int) -> int:
    at = 0
    while at < len(info):
        form, attribute, size = struct.unpack_from("<BBH", info, at)
        at += 4
        if form == 4:
            if attribute == wanted:
                return struct.unpack_from("<II", info, at)[1]
            at += size
    raise AssertionError(f"attribute {wanted:#x} is not in the file")
