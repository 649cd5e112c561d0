"""The kernel alone; files and oracles are in tests/sources/test_csv.py."""

from __future__ import annotations

import numpy as np
import pytest

from edgetwin.kernels.csv import BAD_QUOTE, FULL, MORE, ODD_WIDTH, TOO_MANY, scan_rows
from edgetwin.kernels.times import UNITS

NAN = float("nan")


def scan(
    data: bytes, wanted: list[int], *, final: bool = True, rows_max: int = 9, odd_max: int = 9
) -> tuple[list[int], list[list[float]], list[list[int]], tuple[int, int, int]]:
    """Times, values, odd cells, and (next start, next line, status)."""
    columns = max(wanted)
    t = np.zeros(rows_max, np.int64)
    values = np.zeros((rows_max, columns))
    odd = np.zeros((odd_max, ODD_WIDTH), np.int64)
    buf = np.frombuffer(data, np.uint8)
    rows, odds, *rest = scan_rows(buf, 0, final, ord(","), np.array(wanted, np.int64), UNITS["s"], 2, t, values, odd)
    return t[:rows].tolist(), values[:rows].tolist(), odd[:odds].tolist(), (rest[0], rest[1], rest[2])


def test_wanted_columns() -> None:
    t, values, odd, end = scan(b'5,1.5,"a, ""b""\nc",-2\r\n\n6, 7 ,,8', [0, 2, -1, 1])
    assert t == [5 * 10**9, 6 * 10**9]
    assert values == [[-2.0, 1.5], [8.0, 7.0]]
    assert odd == []
    assert end == (32, 6, MORE)


def test_missing_cells_are_nan() -> None:
    _, values, _, _ = scan(b"1\n2,\n3,,\n", [0, 1])
    np.testing.assert_array_equal(values, [[NAN]] * 3)


def test_odd_cells_are_placed() -> None:
    _, _, odd, _ = scan(b"1,x\nnoon,2\n,3\n", [0, 1])
    assert odd == [[0, 1, 2, 3, 2], [1, 0, 4, 8, 3], [2, 0, 11, 11, 4]]
    _, _, odd, _ = scan(b"2\n", [1, 0])
    assert odd == [[0, 0, 0, 0, 2]]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_cut_row_waits(cut: int) -> None:
    data = b'1,2\n3,"4"\n5'
    t, _, odd, (start, line, status) = scan(data[:cut], [0, 1], final=False)
    whole = data[:cut].count(b"\n")
    assert (len(t), odd, line, status) == (whole, [], 2 + whole, MORE)
    assert start == data[:cut].rfind(b"\n") + 1


def test_full_outputs() -> None:
    t, _, _, end = scan(b"1,2\n3,4\n5,6\n", [0, 1], rows_max=2)
    assert (t, end) == ([10**9, 3 * 10**9], (8, 4, FULL))
    t, _, odd, end = scan(b"1,x\n3,4\n5,6\n", [0, 1], odd_max=2)
    assert (len(t), len(odd), end) == (1, 1, (4, 3, FULL))


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"1,2\n3,4,5\n", TOO_MANY), (b'1,2\n3,"4\n', BAD_QUOTE), (b'1,2\n3,"4"4\n', BAD_QUOTE), (b"1,2\n3,4, ,\n", MORE)],
)
def test_malformed_rows(data: bytes, status: int) -> None:
    t, _, _, (start, line, got) = scan(data, [0, 1])
    assert got == status
    assert (len(t), start, line) == ((2, len(data), 4) if status == MORE else (1, 4, 3))
