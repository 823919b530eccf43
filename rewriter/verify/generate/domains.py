"""Value domains: which values a column type can hold, which are near each other, and how to make new ones.

Pools are small on purpose: values of different columns then meet in joins and groups. Floats are multiples of 1/4, so
that sums over them are exact in any order and two plans cannot differ by rounding alone.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from enum import Enum, auto
from functools import cache

from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.records import Value


class Kind(Enum):
    BOOLEAN = auto()
    INTEGER = auto()
    DECIMAL = auto()
    FLOAT = auto()
    TEXT = auto()
    DATE = auto()
    TIMESTAMP = auto()
    TIMESTAMPTZ = auto()
    TIME = auto()
    UUID = auto()
    OTHER = auto()


_INTEGER_BITS = {
    exp.DType.TINYINT: 8,
    exp.DType.SMALLINT: 16,
    exp.DType.INT: 32,
    exp.DType.MEDIUMINT: 24,
    exp.DType.BIGINT: 64,
    exp.DType.INT128: 64,
    exp.DType.UTINYINT: 8,
    exp.DType.USMALLINT: 16,
    exp.DType.UINT: 32,
    exp.DType.UBIGINT: 63,
    exp.DType.SMALLSERIAL: 16,
    exp.DType.SERIAL: 32,
    exp.DType.BIGSERIAL: 64,
}
_UNSIGNED = {exp.DType.UTINYINT, exp.DType.USMALLINT, exp.DType.UINT, exp.DType.UBIGINT}
_KINDS = {
    exp.DType.BOOLEAN: Kind.BOOLEAN,
    exp.DType.DECIMAL: Kind.DECIMAL,
    exp.DType.MONEY: Kind.OTHER,
    exp.DType.FLOAT: Kind.FLOAT,
    exp.DType.DOUBLE: Kind.FLOAT,
    exp.DType.DATE: Kind.DATE,
    exp.DType.TIMESTAMP: Kind.TIMESTAMP,
    exp.DType.TIMESTAMPNTZ: Kind.TIMESTAMP,
    exp.DType.TIMESTAMP_S: Kind.TIMESTAMP,
    exp.DType.TIMESTAMP_MS: Kind.TIMESTAMP,
    exp.DType.DATETIME: Kind.TIMESTAMP,
    exp.DType.TIMESTAMPTZ: Kind.TIMESTAMPTZ,
    exp.DType.TIMESTAMPLTZ: Kind.TIMESTAMPTZ,
    exp.DType.TIME: Kind.TIME,
    exp.DType.UUID: Kind.UUID,
    exp.DType.ENUM: Kind.TEXT,
}

_EPOCH = date(2000, 1, 1)
NUMERIC_KINDS = (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT)


@dataclass(frozen=True)
class Domain:
    """The values of one column type. ``low``/``high`` bound numbers; ``scale`` counts decimals; ``length`` bounds
    text; ``choices`` are all values there are (enum types)."""

    kind: Kind
    low: int = 0
    high: int = 0
    scale: int = 0
    length: int | None = None
    choices: tuple[str, ...] = ()

    def pool(self) -> tuple[Value, ...]:
        """A few values that every column of this kind shares."""
        if self.choices:
            return self.choices
        return tuple(value for value in map(self.coerce, _pool(self.kind)) if value is not None)

    def extremes(self) -> tuple[Value, ...]:
        """Values where arithmetic and parsing go wrong: negative, large, empty."""
        if self.kind in (Kind.INTEGER, Kind.DECIMAL):
            return tuple(v for v in (self.coerce(n) for n in (-1, -5, 7, 10, 50, 100, 1000)) if v is not None)
        if self.kind is Kind.FLOAT:
            return (-1.0, -2.5, 10.0, 100.0, 1000.0)
        if self.kind is Kind.TEXT and not self.choices:
            return tuple(text for text in ("", "A", "a ", "10", "2", "ab%") if self.coerce(text) is not None)
        if self.kind is Kind.DATE:
            return (date(1999, 12, 31), date(2000, 2, 29), date(2001, 1, 1), date(2000, 7, 15))
        return ()

    def fresh(self, number: int) -> Value:
        """The ``number``-th value outside the usual pool, different for different numbers, or None if exhausted."""
        match self.kind:
            case Kind.INTEGER | Kind.DECIMAL | Kind.FLOAT:
                return self.coerce(11 + number)
            case Kind.TEXT:
                if self.choices:
                    return self.choices[number % len(self.choices)]
                return self.coerce(_letters(number))
            case Kind.DATE:
                return _EPOCH + timedelta(days=40 + number)
            case Kind.TIMESTAMP:
                return datetime(2000, 2, 10) + timedelta(days=number)
            case Kind.TIMESTAMPTZ:
                return datetime(2000, 2, 10, tzinfo=UTC) + timedelta(days=number)
            case Kind.TIME:
                return time(13 + number // 60 % 11, number % 60)
            case Kind.UUID:
                return uuid.UUID(int=11 + number)
            case Kind.BOOLEAN:
                return bool(number % 2)
        return None

    def coerce(self, value: Value) -> Value | None:
        """``value`` as this domain holds it, None when it cannot hold it."""
        if value is None:
            return None
        try:
            return self._coerce(value)
        except (ValueError, ArithmeticError, InvalidOperation, TypeError):
            return None

    def _coerce(self, value: Value) -> Value | None:
        match self.kind:
            case Kind.BOOLEAN:
                if isinstance(value, str):
                    return {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}.get(
                        value.strip().lower()
                    )
                return bool(value)
            case Kind.INTEGER:
                number = _number(value)
                if number is None or number != number.to_integral_value():
                    return None
                return int(number) if self.low <= number <= self.high else None
            case Kind.DECIMAL:
                number = _number(value)
                if number is None:
                    return None
                quantised = number.quantize(Decimal(1).scaleb(-self.scale), ROUND_HALF_UP)
                return quantised if self.low <= quantised <= self.high else None
            case Kind.FLOAT:
                number = _number(value)
                return None if number is None else float(number)
            case Kind.TEXT:
                text = value.isoformat() if isinstance(value, date) else str(value)
                if self.choices:
                    return text if text in self.choices else None
                if "\x00" in text or (self.length is not None and len(text) > self.length):
                    return None
                return text
            case Kind.DATE:
                moment = _moment(value)
                return None if moment is None else moment.date()
            case Kind.TIMESTAMP:
                return _moment(value)
            case Kind.TIMESTAMPTZ:
                moment = _moment(value)
                return None if moment is None else moment.replace(tzinfo=UTC)
            case Kind.TIME:
                return time.fromisoformat(value) if isinstance(value, str) else value if type(value) is time else None
            case Kind.UUID:
                return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))
        return None

    def below(self, value: Value) -> Value | None:
        """The nearest smaller value worth trying."""
        return self._step(value, -1)

    def above(self, value: Value) -> Value | None:
        """The nearest greater value worth trying."""
        return self._step(value, 1)

    def _step(self, value: Value, sign: int) -> Value | None:
        value = self.coerce(value)
        if value is None:
            return None
        try:
            match self.kind:
                case Kind.INTEGER:
                    return self.coerce(value + sign)
                case Kind.DECIMAL:
                    return self.coerce(value + sign * Decimal(1).scaleb(-self.scale))
                case Kind.FLOAT:
                    return float(value) + sign * 0.25
                case Kind.TEXT:
                    return self.coerce(value + "a" if sign > 0 else value[:-1])
                case Kind.DATE:
                    return value + timedelta(days=sign)
                case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
                    return value + timedelta(seconds=sign)
        except OverflowError:
            return None
        return None

    def near(self, value: Value) -> tuple[Value, ...]:
        """``value`` and its neighbours, each as this domain holds it."""
        coerced = self.coerce(value)
        if coerced is None and self.kind is Kind.INTEGER:
            number = _number(value)  # 2.5 compared with an integer column: 2 and 3 are its neighbours
            if number is None or not number.is_finite():
                return ()
            floor = int(number.to_integral_value(rounding="ROUND_FLOOR"))
            return tuple(v for v in (self.coerce(floor), self.coerce(floor + 1)) if v is not None)
        around = [coerced, self.below(value), self.above(value)]
        if self.kind is Kind.TEXT and isinstance(coerced, str):
            around += [coerced.upper(), coerced.lower(), self.coerce(coerced + " ")]
        elif self.kind in (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ) and coerced is not None:
            around += [_shift_months(coerced, 1), _shift_months(coerced, -1), _shift_months(coerced, 12)]
        return tuple(dict.fromkeys(v for v in around if v is not None))


def domain_of(type_text: str, dialect: str) -> Domain:
    """The domain of a column type as the catalog writes it; ``Kind.OTHER`` when no values can be made for it."""
    return _domain_of(type_text, dialect)


@cache
def _domain_of(type_text: str, dialect: str) -> Domain:
    try:
        data_type = exp.DataType.build(type_text, dialect=dialect)
    except (SqlglotError, ValueError):
        return Domain(Kind.OTHER)
    dtype = data_type.this
    if dtype in _INTEGER_BITS:
        top = 2 ** (_INTEGER_BITS[dtype] - 1) - 1
        return Domain(Kind.INTEGER, 0 if dtype in _UNSIGNED else -top - 1, top)
    if dtype in exp.DataType.TEXT_TYPES:
        return Domain(Kind.TEXT, length=_parameter(data_type, 0))
    kind = _KINDS.get(dtype, Kind.OTHER)
    if kind is Kind.DECIMAL:
        precision, scale = _parameter(data_type, 0), _parameter(data_type, 1)
        if precision is None:
            precision, scale = 18, 3 if dialect == "duckdb" else 2
        top = 10 ** (precision - (scale or 0)) - 1
        return Domain(Kind.DECIMAL, -top, top, scale or 0)
    if dtype == exp.DType.ENUM:
        return Domain(Kind.TEXT, choices=tuple(e.name for e in data_type.expressions if e.is_string))
    return Domain(kind)


def _parameter(data_type: exp.DataType, index: int) -> int | None:
    parameters = data_type.expressions
    if index >= len(parameters):
        return None
    text = parameters[index].name
    return int(text) if text.isdigit() else None


@cache
def _pool(kind: Kind) -> tuple[Value, ...]:
    match kind:
        case Kind.BOOLEAN:
            return (True, False)
        case Kind.INTEGER:
            return (0, 1, 2, 3)
        case Kind.DECIMAL:
            return (Decimal(0), Decimal(1), Decimal(2), Decimal(3))
        case Kind.FLOAT:
            return (0.0, 1.0, 1.5, 2.0)
        case Kind.TEXT:
            return ("a", "b", "c")
        case Kind.DATE:
            return tuple(_EPOCH + timedelta(days=n) for n in (0, 1, 2, 31))
        case Kind.TIMESTAMP:
            return tuple(datetime(2000, 1, 1) + timedelta(hours=n) for n in (0, 1, 24, 744))
        case Kind.TIMESTAMPTZ:
            return tuple(datetime(2000, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in (0, 1, 24, 744))
        case Kind.TIME:
            return (time(0), time(1), time(12, 30))
        case Kind.UUID:
            return tuple(uuid.UUID(int=n) for n in range(1, 4))
    return ()


def _letters(number: int) -> str:
    text = ""
    number += 3
    while True:
        text = chr(ord("a") + number % 26) + text
        number = number // 26 - 1
        if number < 0:
            return text


def _number(value: Value) -> Decimal | None:
    if isinstance(value, bool):
        return Decimal(int(value))
    if isinstance(value, (int, float, str, Decimal)):
        try:
            number = Decimal(str(value).strip())
        except InvalidOperation:
            return None
        return number if number.is_finite() else None
    return None


def _moment(value: Value) -> datetime | None:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        text = value.strip()
        try:
            return datetime.fromisoformat(text).replace(tzinfo=None)
        except ValueError:
            year, month, day = (int(part) for part in text.split("-"))
            return datetime(year, month, day)
    return None


def _shift_months(value: Value, months: int) -> Value | None:
    month = value.month - 1 + months
    try:
        return value.replace(year=value.year + month // 12, month=month % 12 + 1, day=min(value.day, 28))
    except ValueError:
        return None


def shifted(value: Value, amount: int, unit: str) -> Value | None:
    """A date or timestamp moved by ``amount`` units (day, week, month, quarter, year, hour, minute, second)."""
    months = {"month": 1, "quarter": 3, "year": 12}
    unit = unit.lower().rstrip("s")
    if unit in months:
        return _shift_months(value, amount * months[unit])
    seconds = {"day": 86400, "week": 604800, "hour": 3600, "minute": 60, "second": 1}.get(unit)
    if seconds is None:
        return None
    try:
        if not isinstance(value, datetime) and seconds < 86400:
            value = datetime(value.year, value.month, value.day)
        moved: Value = value + timedelta(seconds=amount * seconds)
    except OverflowError:
        return None
    return moved
