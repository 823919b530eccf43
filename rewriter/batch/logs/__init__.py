"""Query logs to groups of statements: what a database spends its time on, and with which values.

``LogReader`` reads any known format into entries, ``group`` puts them together, ``gather`` does both in several
processes.
"""

from rewriter.batch.logs.detection import Format, Layout, Options, detect
from rewriter.batch.logs.entries import Entry, Reason, Sample, Tally
from rewriter.batch.logs.grouping import Group, Groups, Total, group
from rewriter.batch.logs.parallel import Gathered, gather
from rewriter.batch.logs.positions import Position
from rewriter.batch.logs.ranges import Range, ranges
from rewriter.batch.logs.reading import LogReader

__all__ = [
    "Entry",
    "Format",
    "Gathered",
    "Group",
    "Groups",
    "Layout",
    "LogReader",
    "Options",
    "Position",
    "Range",
    "Reason",
    "Sample",
    "Tally",
    "Total",
    "detect",
    "gather",
    "group",
    "ranges",
]
