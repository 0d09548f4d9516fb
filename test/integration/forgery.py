"""Indexes of trust anchors and routes as somebody makes them who may write anything: all in order but what they say."""

import os
import struct

MAGIC = b"qr-cdb 3"
HEAD, RECORD_HEAD, STAMP_KEY = 2048, 8, b"source"
FRONT = HEAD + RECORD_HEAD + len(STAMP_KEY) + len(MAGIC) + 64 + 2048 + 8
WORD = (1 << 64) - 1


def _mix(total, word):
    total = (total ^ word) * 0x9e3779b97f4a7c15 & WORD
    return total ^ total >> 32


def _checksum(total, data):
    lanes = [1, 2, 3, 4]
    total = _mix(total, len(data))
    whole = len(data) // 32 * 32
    for i, word in enumerate(struct.unpack(f"<{whole // 8}Q", data[:whole])):
        lanes[i % 4] = _mix(lanes[i % 4], word)
    rest = struct.unpack("<4Q", data[whole:].ljust(32, b"\0"))
    for lane, word in zip(lanes, rest):
        total = _mix(total, _mix(lane, word))
    return total


def _hash(key):
    total = 5381
    for byte in key:
        total = (total * 33 & 0xffffffff) ^ byte
    return total


def index(source, entries):
    """The bytes of an index of the file source: (key, offset, length) each."""
    st = os.stat(source)
    records, tables = b"", {_hash(STAMP_KEY) % 256: [(_hash(STAMP_KEY), HEAD)]}
    for key, offset, length in entries:
        key = b"=" + key
        place = struct.pack("<QQ", offset & WORD, length & WORD)
        tables.setdefault(_hash(key) % 256, []).append((_hash(key), FRONT + len(records)))
        records += struct.pack("<II", len(key), 24) + key
        records += struct.pack("<Q", _checksum(_checksum(1, key), place)) + place
    head, sums, end = b"", b"", FRONT + len(records)
    for number in range(256):
        slots = [(0, 0)] * (2 * len(tables.get(number, [])))
        for digest, at in tables.get(number, []):
            slot = digest // 256 % len(slots)
            while slots[slot][1]:
                slot = (slot + 1) % len(slots)
            slots[slot] = (digest, at)
        table = b"".join(struct.pack("<II", *slot) for slot in slots)
        head += struct.pack("<II", end, len(slots))
        sums += struct.pack("<Q", _checksum(0, table))
        records += table
        end += len(table)
    identity = struct.pack("<8Q", st.st_dev, st.st_ino, st.st_size, *divmod(st.st_mtime_ns, 10**9),
                           *divmod(st.st_ctime_ns, 10**9), end)
    front = head + struct.pack("<II", len(STAMP_KEY), FRONT - HEAD - RECORD_HEAD - len(STAMP_KEY))
    front += STAMP_KEY + MAGIC + identity + sums
    return front + struct.pack("<Q", _checksum(0, front)) + records


def place(source, piece):
    """Where a piece of the file is, for an entry."""
    with open(source, "rb") as f:
        data = f.read()
    assert data.count(piece) == 1
    return data.index(piece), len(piece)
