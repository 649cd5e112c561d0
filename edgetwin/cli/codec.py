"""``edgetwin codec``: a CSV or Parquet file over one time axis to a few bytes and back, within a stated tolerance.

``encode`` decodes what it wrote and compares every value before it reports success.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgetwin.codec.table import Table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    encode = actions.add_parser("encode", help="CSV or Parquet to a coded table", allow_abbrev=False)
    encode.add_argument(
        "file", metavar="FILE", type=Path, help="CSV (plain or gzipped) or Parquet; the first column is the time"
    )
    encode.add_argument(
        "--tolerance",
        metavar="X",
        action="append",
        required=True,
        help="largest error of a value: 0.1, 1%% (of the range of the column), 0 (exact); name=0.1 for one column; "
        "may be given several times",
    )
    encode.add_argument(
        "--time-unit", choices=["s", "ms", "us", "ns", "iso"], default="s", help="unit of the time (default: s)"
    )
    decode = actions.add_parser("decode", help="a coded table to CSV or Parquet", allow_abbrev=False)
    decode.add_argument("file", metavar="FILE", type=Path, help="what `edgetwin codec encode` has written")
    for action in (encode, decode):
        action.add_argument(
            "-o",
            "--output",
            metavar="OUT",
            type=Path,
            required=True,
            help="file to write; decode: Parquet when it ends in .parquet",
        )
        action.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Encode or decode. ConfigError for a tolerance that cannot be, SourceError or FrameError for a file."""
    report = _encode(args) if args.action == "encode" else _decode(args)
    if args.json:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    else:
        print(_line(report, args.output))
    return 0


def _encode(args: argparse.Namespace) -> dict[str, object]:
    from edgetwin.cli.tables import read_table, write_bytes
    from edgetwin.codec.column import error_bound
    from edgetwin.codec.table import decode_table, encode_table
    from edgetwin.errors import FrameError

    table = read_table(args.file, args.time_unit)
    tolerance = _tolerances(args.tolerance, table)
    data = encode_table(table, tolerance)
    again = decode_table(data)
    errors = [error_bound(table.values[:, k], again.values[:, k]) for k in range(len(table.names))]
    if (again.t_ns != table.t_ns).any() or any(e > t for e, t in zip(errors, tolerance, strict=True)):
        raise FrameError("what was encoded does not decode within its tolerance", hint="this is a fault; report it")
    write_bytes(args.output, data)
    return {
        "rows": len(table.t_ns),
        "values": int(table.values.size),
        "bytes_in": args.file.stat().st_size,
        "bytes": len(data),
        "columns": {
            name: {"tolerance": t, "largest_error": e}
            for name, t, e in zip(table.names, tolerance, errors, strict=True)
        },
    }


def _decode(args: argparse.Namespace) -> dict[str, object]:
    from edgetwin.cli.tables import write_table
    from edgetwin.codec.table import decode_table
    from edgetwin.errors import SourceError

    try:
        data = args.file.read_bytes()
    except OSError as exc:
        raise SourceError(f"cannot read {args.file}: {exc.strerror}", hint="check the path") from exc
    table = decode_table(data)
    write_table(args.output, table)
    size = args.output.stat().st_size
    return {"rows": len(table.t_ns), "values": int(table.values.size), "bytes_in": len(data), "bytes": size}


def _tolerances(words: list[str], table: Table) -> list[float]:
    """The tolerance of each column, the last word for it counting; ConfigError for a word that cannot be."""
    from edgetwin.errors import ConfigError

    general, own = "", {}
    for word in words:
        name, named, text = word.rpartition("=")
        if not named:
            general = text
        elif name in table.names:
            own[name] = text
        else:
            raise ConfigError(f"--tolerance: there is no column {name!r}", hint=f"known: {', '.join(table.names)}")
    missing = [name for name in table.names if name not in own]
    if missing and not general:
        raise ConfigError(f"--tolerance: none for column {missing[0]!r}", hint="add one without a name: --tolerance 1%")
    return [_tolerance(own.get(name, general), table, k) for k, name in enumerate(table.names)]


def _tolerance(text: str, table: Table, column: int) -> float:
    import numpy as np

    from edgetwin.errors import ConfigError

    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = np.nan
    if not 0 <= number < np.inf:
        raise ConfigError(f"--tolerance: {text!r} is not a tolerance", hint="write 0.1, 1% or 0")
    if not text.endswith("%"):
        return number
    values = table.values[:, column]
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0
    span = float(finite.max()) - float(finite.min())
    return span * number / 100 if np.isfinite(span) else 0.0


def _line(report: dict[str, object], out: Path) -> str:
    values, size = report["values"], report["bytes"]
    assert isinstance(values, int) and isinstance(size, int)
    share = f", {8 * size / values:.3f} bits a value" if values else ""
    return f"{report['rows']} rows, {values} values, {report['bytes_in']} bytes -> {size} bytes{share}  {out}"
