"""The journal: a segmented append-only log in a directory of its own. This is the specification of its format.

All integers are little-endian. CRC is CRC-32C (Castagnoli; RFC 3720 B.4). Epochs, frame sequences and record numbers
are unsigned 64-bit. docs/journal.md says what it promises and how it is used.

Files
    ``<number>-<epoch>.seg``   a segment; both in 16 lower-case hexadecimal digits. Numbers rise by one with each
                               segment made and are never used again. One segment holds records of one epoch.
    ``<segment>.tmp``          a segment being rewritten; without meaning until it is renamed.
    ``reserve``                room held for a full disk; its content is zeros.
    ``lock``                   locked (flock) by the owner.

Segment header, 64 bytes
     0   8  magic ``E5 45 44 47 54 4A 0D 0A``
     8   4  CRC of bytes 12 to 63
    12   4  version, 1
    16   8  segment number
    24   8  epoch
    32   8  first: number of the first record
    40   8  void: records of this epoch numbered from void to first - 1 do not count, in whatever segment they are:
            they belong to writes that failed. void = first: there are none.
    48   4  flags. Bit 0: thinned, that is rewritten with records left out
    52   4  thinned: how many records it holds; else 0
    56   8  the first frame sequence that can be in it
    A thinned segment ends with a copy of its header. Any other is followed by zeros up to its reserved length, unless
    it was sealed, which cuts it to its records.

Record, on an offset divisible by 8; header of 64 bytes
     0   4  magic ``E5 4A 52 31``
     4   4  CRC of bytes 8 to 63
     8   4  length of the payload, at most 16 MiB
    12   4  CRC of the payload
    16   8  epoch
    24   8  number: 1, 2, 3, ... in its epoch
    32   8  sequence, see below
    40   8  wall clock, signed ns since 1970-01-01 UTC; for people, nothing is decided by it
    48   8  running time: ns that a journal of this directory was open before
    56   1  kind
    57   1  class: 0 data, 1 audit, 2 event, 3 state; the lowest is evicted first, state never
    58   2  0
    60   4  values, see below
    64      payload, then zeros up to the next offset divisible by 8

Kinds; payloads marked (m) are msgpack, the others opaque
     1  COMMIT       sequence: number of the first record of its group; no payload
     2  MANIFEST (m) first record of a segment; sequence: void, as in the header. Replaces all earlier marks (ACK, GAP,
                     CARRIED): ``[acks, pending, carried, segments]``, see :mod:`edgetwin.journal.manifest`
     3  FRAME        sequence: of the frame, rising within the epoch; values: how many are in it
     4  STATE_BASE   sequence: generation, the number of its first record; values: index in the generation, with bit 31
                     set in the last record of the base
     5  STATE_DELTA  sequence: generation; values: index in the generation, counting on from the base
     6  POSITIONS    sequence: generation, 0 without one; values: records of the generation before it
     7  ACK (m)      ``[epoch, through]``: the cloud has the frames of the epoch up to this sequence
     8  GAP (m)      ``[[epoch, kind, first, last, records, values, reason], ...]``, see :mod:`edgetwin.journal.gaps`
     9  CARRIED (m)  ``[epoch, sequence, [gap, ...]]``: the frame tells the cloud of the gaps; its ACK settles them,
                     those of another epoch when an ACK of that has passed them or none of its frames is left
    10  EVENT, 11 AUDIT, 12 INTENT, 13 RESULT: history

Groups. Each commit is one write: its records, numbered on, and a COMMIT. It is whole when the COMMIT and every record
from its sequence on are there. The next is written only when it is durable: synced, and for the first of a segment the
directory too. Hence in each epoch every record up to the last whole group was confirmed, and none after it was; records
missing among the former are damage, the latter are passed over. Records of a thinned segment stand by themselves. A
record number that was read before is a copy and is passed over.

Reading. Segments in order of their numbers. Where no whole header stands, the next one of the segment's epoch is sought
on the following offsets divisible by 8; when there is none, the segment ends. A whole header whose payload is damaged
tells which record is lost. Losses without one are found by record numbers, by the frame sequences around them, and by
the list of segments in the newest manifest; what is acknowledged or already in a gap is no loss.

Writing. A failed write or sync ends a segment: nothing is written to the file again, the group goes into a new one
under new numbers, whose header makes the old ones void. Segments go by unlinking when nothing in them is live; those
mostly dead are rewritten in place (``.tmp``, sync, rename, sync of the directory). Gaps are durable before what they
tell of is removed. The two newest state generations, the newest positions of each, frames neither acknowledged nor in
a gap, and history within its age are live.
"""

from edgetwin.journal.disk import Disk, RealDisk
from edgetwin.journal.gaps import Gap
from edgetwin.journal.group import Group
from edgetwin.journal.journal import Journal
from edgetwin.journal.layout import Class, Kind
from edgetwin.journal.limits import Limits
from edgetwin.journal.outcomes import Recovered, Stats
from edgetwin.journal.reading import StoredFrame, StoredRecord
from edgetwin.journal.writer import JournalWriter

__all__ = [
    "Class",
    "Disk",
    "Gap",
    "Group",
    "Journal",
    "JournalWriter",
    "Kind",
    "Limits",
    "RealDisk",
    "Recovered",
    "Stats",
    "StoredFrame",
    "StoredRecord",
]
