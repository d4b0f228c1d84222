"""TensorBoard event files read without TensorBoard: their scalars, as log rows.

An event file is a sequence of records (the TFRecord format): the length as uint64, its checksum,
the bytes, their checksum, all little-endian. A checksum is a CRC-32C (Castagnoli), rotated right by
15 bits, plus a constant. The bytes of a record are a protobuf message ``Event`` with ``step``
(field 2) and ``summary`` (field 5); a summary's values (field 1) have a ``tag`` (field 1) and a
number, as ``simple_value`` (field 2, float) or as a ``tensor`` (field 8) with one element.

Source: TensorFlow's API guide "Python IO", section "TFRecords Format Details", and the messages
``event.proto``, ``summary.proto`` and ``tensor.proto``.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_LARGEST_SCALAR_RECORD = 2**16  # bytes; larger records are texts, images or graphs
_TENSOR_FORMATS = {1: "<f", 2: "<d"}  # TensorProto's dtype -> struct format: float, double
_TENSOR_FIELDS = {5, 6, 4}  # float_val, double_val, tensor_content


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()


def masked_crc(data: bytes) -> int:
    """The masked CRC-32C of ``data``, as the TFRecord format has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@dataclass(frozen=True)
class EventRows:
    """The scalars of an event file.

    Attributes:
        rows: tags and numbers that were logged together, with their ``step``, in the file's order.
        damage: why the file could not be read to its end; empty if it was.
    """

    rows: list[dict[str, object]]
    damage: str


def read_event_rows(data: bytes) -> EventRows:
    """Read the scalars of an event file's bytes; what follows a damaged record is left unread.

    Scalars of one step that follow each other make one row, until a tag repeats: the callback of
    the Hugging Face trainer writes all numbers of one log call in a row.
    """
    rows: list[dict[str, object]] = []
    position, damage = 0, ""
    while position < len(data) and not damage:
        header = data[position : position + 12]
        length = int.from_bytes(header[:8], "little")
        end = position + 12 + length
        intact = masked_crc(header[:8]) == int.from_bytes(header[8:], "little")
        if len(header) == 12 and not intact:
            damage = f"the checksum of the record at byte {position:,} is wrong"
        elif len(header) < 12 or end + 4 > len(data):
            damage = f"it breaks off in the record at byte {position:,}"
        elif length <= _LARGEST_SCALAR_RECORD:
            record = data[position + 12 : end]
            try:
                if masked_crc(record) != int.from_bytes(data[end : end + 4], "little"):
                    raise ValueError("wrong checksum")
                _add_event(record, rows)
            except (ValueError, IndexError, struct.error):
                damage = f"the checksum or content of the record at byte {position:,} is wrong"
        position = end + 4
    return EventRows(rows, damage)


def _add_event(record: bytes, rows: list[dict[str, object]]) -> None:
    step = 0
    scalars: dict[str, float] = {}
    for field, value in _fields(record):
        if field == 2 and isinstance(value, int):
            step = value - 2**64 if value >= 2**63 else value
        elif field == 5 and isinstance(value, bytes):
            for inner, summary_value in _fields(value):
                if inner == 1 and isinstance(summary_value, bytes):
                    scalars |= _scalar(summary_value)
    for tag, number in scalars.items():
        if not rows or rows[-1]["step"] != step or tag in rows[-1]:
            rows.append({"step": step})
        rows[-1][tag] = number


def _scalar(message: bytes) -> dict[str, float]:
    """The tag and number of one summary value; nothing for text, images and histograms."""
    tag, number = "", None
    for field, value in _fields(message):
        if not isinstance(value, bytes):
            continue
        if field == 1:
            tag = value.decode(errors="replace")
        elif field == 2 and len(value) == 4:
            number = struct.unpack("<f", value)[0]
        elif field == 8:
            number = _tensor_number(value)
    return {} if number is None else {tag: number}


def _tensor_number(message: bytes) -> float | None:
    format_, content = "", b""
    for field, value in _fields(message):
        if field == 1 and isinstance(value, int):
            format_ = _TENSOR_FORMATS.get(value, "")
        elif field in _TENSOR_FIELDS and isinstance(value, bytes):
            content = value
    if not format_ or len(content) != struct.calcsize(format_):
        return None
    return float(struct.unpack(format_, content)[0])


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """A protobuf message's fields: number, and an integer (varint) or the bytes of all other types.

    Raises:
        ValueError, IndexError: the bytes are not a protobuf message.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == 0:
            number, position = _varint(message, position)
            yield key >> 3, number
            continue
        if kind == 2:
            length, position = _varint(message, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if position + length > len(message):
            raise ValueError("a field reaches past its message")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
    raise ValueError("a varint of more than ten bytes")
