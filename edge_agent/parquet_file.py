"""Parquet files that grow by the row group, in bounded memory.

polars writes a Parquet file from one table in memory, or streams into one through an engine that
holds hundreds of megabytes and, asked to join files, encodes everything anew. A Parquet file is its
row groups, one behind the other, and a footer that says where they are. So each stretch of rows is
written as a small file of its own; here its row groups are copied as they are, and the footers
become one: the only change is that every position moves by as much as the bytes did.

The footer is a struct of Thrift's compact protocol. Of it only what Parquet's footers use is known
here, and only what positions are is looked at; the rest is carried through.
"""

from __future__ import annotations

import io
from typing import IO, Any, Final

_MAGIC: Final = b"PAR1"
# Behind the footer: its length, 4 bytes, and the magic.
_TAIL_BYTES: Final = 8
_COPY_BYTES: Final = 1024 * 1024

# Types of Thrift's compact protocol.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST = range(1, 10)
_STRUCT: Final = 12
_DOUBLE_BYTES: Final = 8

# Field numbers, from the format's parquet.thrift.
_FILE_ROWS: Final = 3
_FILE_ROW_GROUPS: Final = 4
_GROUP_COLUMNS: Final = 1
_GROUP_POSITION: Final = 5
_GROUP_ORDINAL: Final = 7
_CHUNK_METADATA: Final = 3
# Of a column chunk: itself, its offset index, its column index.
_CHUNK_POSITIONS: Final = (2, 4, 6)
# Of its metadata: data pages, index pages, dictionary, Bloom filter.
_METADATA_POSITIONS: Final = (9, 10, 11, 14)

# Field number → (type, value). Lists are (type of the elements, elements).
_Struct = dict[int, tuple[int, Any]]


class ParquetFile:
    """A Parquet file under way. Nothing is looked at again, so it can go into a pipe.

    Args:
        stream: Takes the file, from its first byte on.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._footer: _Struct = {}
        self._groups: list[bytes] = []
        self._rows = 0
        self._stream.write(_MAGIC)
        self._length_bytes = len(_MAGIC)

    def append(self, part: IO[bytes]) -> None:
        """Take over the row groups of a whole Parquet file, of the same columns as all others.

        Args:
            part: The file; must be seekable.
        """
        footer_at, footer = _read_footer(part)
        shift_bytes = self._length_bytes - len(_MAGIC)
        part.seek(len(_MAGIC))
        self._copy(part, footer_at - len(_MAGIC))
        self._rows += footer[_FILE_ROWS][1]
        _, groups = footer.pop(_FILE_ROW_GROUPS)[1]
        for group in groups:
            _move(group, shift_bytes)
            out = bytearray()
            _write_struct(out, group)
            self._groups.append(bytes(out))
        # Schema, creator and orders are the same in all of them.
        self._footer = self._footer or footer

    def finish(self) -> None:
        """Write the footer; at least one part must have been appended."""
        # Encoded groups are spliced in: a list of structs is its head and they.
        footer = dict(sorted({**self._footer, _FILE_ROWS: (_I64, self._rows)}.items()))
        before = {number: field for number, field in footer.items() if number < _FILE_ROW_GROUPS}
        behind = {number: field for number, field in footer.items() if number > _FILE_ROW_GROUPS}
        out = bytearray()
        last = _write_fields(out, before, 0)
        _write_head(out, _FILE_ROW_GROUPS - last, _LIST)
        _write_list_head(out, _STRUCT, len(self._groups))
        for group in self._groups:
            out += group
        _write_fields(out, behind, _FILE_ROW_GROUPS)
        out.append(0)
        self._stream.write(out + len(out).to_bytes(4, "little") + _MAGIC)

    def _copy(self, part: IO[bytes], length_bytes: int) -> None:
        self._length_bytes += length_bytes
        while length_bytes:
            data = part.read(min(length_bytes, _COPY_BYTES))
            self._stream.write(data)
            length_bytes -= len(data)


def _read_footer(part: IO[bytes]) -> tuple[int, _Struct]:
    """Where the footer of a Parquet file begins, and what it says."""
    tail_at = part.seek(-_TAIL_BYTES, io.SEEK_END)
    tail = part.read(_TAIL_BYTES)
    footer_at = tail_at - int.from_bytes(tail[:4], "little")
    part.seek(footer_at)
    return footer_at, _Fields(part.read(tail_at - footer_at)).struct()


def _move(group: _Struct, shift_bytes: int) -> None:
    """Move all positions of a row group."""
    # 16 bits, optional, and wrong in another file.
    group.pop(_GROUP_ORDINAL, None)
    _move_fields(group, (_GROUP_POSITION,), shift_bytes)
    for chunk in group[_GROUP_COLUMNS][1][1]:
        _move_fields(chunk, _CHUNK_POSITIONS, shift_bytes)
        _move_fields(chunk[_CHUNK_METADATA][1], _METADATA_POSITIONS, shift_bytes)


def _move_fields(struct: _Struct, numbers: tuple[int, ...], shift_bytes: int) -> None:
    for number in numbers:
        # Some writers say 0 for "nowhere".
        if struct.get(number, (_I64, 0))[1]:
            kind, position = struct[number]
            struct[number] = kind, position + shift_bytes


class _Fields:
    """Reads Thrift's compact protocol."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> _Struct:
        fields: _Struct = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            fields[number] = kind, None if kind in {_TRUE, _FALSE} else self._value(kind)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in {_I16, _I32, _I64}:
            return self._integer()
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind == _LIST:
            head = self._byte()
            length = head >> 4 if head >> 4 != 15 else self._unsigned()
            return head & 15, [self._value(head & 15) for _ in range(length)]
        if kind == _STRUCT:
            return self.struct()
        if kind == _DOUBLE:
            return self._bytes(_DOUBLE_BYTES)
        if kind in {_TRUE, _FALSE, _BYTE}:
            return self._byte()
        raise ValueError(f"Thrift type {kind} does not occur in Parquet footers")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, length: int) -> bytes:
        self._at += length
        return self._data[self._at - length : self._at]

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _integer(self) -> int:
        folded = self._unsigned()
        return (folded >> 1) ^ -(folded & 1)


def _write_struct(out: bytearray, fields: _Struct) -> None:
    _write_fields(out, fields, 0)
    out.append(0)


def _write_fields(out: bytearray, fields: _Struct, last: int) -> int:
    """Write fields that follow field number `last`; returns the number of the last one."""
    for number, (kind, value) in fields.items():
        _write_head(out, number - last, kind)
        if kind not in {_TRUE, _FALSE}:
            _write_value(out, kind, value)
        last = number
    return last


def _write_head(out: bytearray, step: int, kind: int) -> None:
    # No struct of a footer has a gap of 16 field numbers, for which there would be a longer head.
    out.append(step << 4 | kind)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in {_I16, _I32, _I64}:
        _write_unsigned(out, value << 1 if value >= 0 else (-value << 1) - 1)
    elif kind == _BINARY:
        _write_unsigned(out, len(value))
        out += value
    elif kind == _LIST:
        element, values = value
        _write_list_head(out, element, len(values))
        for item in values:
            _write_value(out, element, item)
    elif kind == _STRUCT:
        _write_struct(out, value)
    elif kind == _DOUBLE:
        out += value
    else:
        out.append(value)


def _write_list_head(out: bytearray, kind: int, length: int) -> None:
    if length < 15:
        out.append(length << 4 | kind)
    else:
        out.append(15 << 4 | kind)
        _write_unsigned(out, length)


def _write_unsigned(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
