"""Which functions a statement may call: decided by the target's own volatility, never by how the name is written.

With a live catalog a function must be one of the engine's built-ins and immutable or stable. Stable is not the same as
harmless: what reads settings, files or other sessions, or takes SQL in a string, is refused whatever its volatility.
Without a live catalog only functions that the parser knows and a list of pure built-ins are let through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.errors import QueryRejected

# Postgres: server state, files, large objects, transactions, SQL in strings. DuckDB: files, SQL in strings, internals.
_REFUSED = re.compile(
    r"(pg_(?!typeof$|size_pretty$|char_to_encoding$|column_size$).*|lo_.*|.*_to_xml.*|xpath_table|txid_.*|dblink.*"
    r"|crosstab.*|connectby.*|ts_stat|ts_rewrite"
    r"|current_setting|set_config|setseed|setval|nextval|currval|lastval|inet_(client|server)_.*|has_.*_privilege"
    r"|read_.*|parquet_.*|glob|query|query_table|json_execute_serialized_sql|json_serialize_.*|getenv|getvariable"
    r"|sniff_csv|duckdb_.*|pragma_.*|write_log|parse_duckdb_log_message|which_secret|sleep_ms|checkpoint|force_checkpoint"
    r"|icu_.*|sql_auto_complete|check_peg_parser|test_.*|from_substrait.*|repeat_row|seq_scan|index_scan|arrow_scan.*"
    r"|pandas_scan|python_map_function|st_read.*|iceberg_.*|delta_.*|sqlite_.*|mysql_.*|postgres_.*|load_aws.*|http_.*"
    r"|copy_.*|in_search_path|add_parquet_key|force_.*|current_query.*|current_connection_id|txid_current|summary)$"
)

# Volatile, yet without side effects: allowed, and the statement is marked as not determined by its data.
RANDOM = frozenset(
    {"random", "random_normal", "clock_timestamp", "timeofday", "gen_random_uuid", "uuidv4", "uuidv7", "uuid"}
)

# For schemas without a database: pure functions that sqlglot parses as anonymous ones.
_PURE = frozenset(
    """
    ascii btrim char_length character_length octet_length bit_length initcap overlay quote_literal quote_ident
    regexp_match regexp_matches split_part strpos translate to_char to_date to_number to_timestamp md5 encode
    decode format concat_ws reverse trim_scale div mod cbrt degrees radians width_bucket scale min_scale gcd
    lcm factorial age date_part isfinite justify_days justify_hours justify_interval make_date make_interval
    make_time make_timestamp now statement_timestamp transaction_timestamp localtime localtimestamp num_nulls
    num_nonnulls json_build_object json_build_array jsonb_build_object jsonb_build_array row_to_json to_json
    to_jsonb json_array_length jsonb_array_length jsonb_typeof array_append array_cat array_prepend
    array_position array_length array_lower array_upper cardinality array_ndims array_dims unnest
    generate_subscripts range bool_and bool_or every bit_and bit_or bit_xor string_agg json_agg jsonb_agg
    json_object_agg jsonb_object_agg regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx
    regr_sxy regr_syy mode grouping grouping_id percentile_cont percentile_disc cume_dist nth_value lower_inf
    upper_inf isempty datediff date_diff date_sub date_add strftime strptime epoch epoch_ms list_value
    list_contains list_aggregate len contains prefix suffix starts_with ends_with regexp_full_match
    string_split levenshtein any_value arg_max arg_min max_by min_by approx_count_distinct quantile
    quantile_cont quantile_disc year month day hour minute second quarter week dayofweek dayofyear weekofyear
    last_day monthname dayname isodow isoyear century decade millennium yearweek chr pi ceil ceiling floor
    trunc round sqrt exp ln log log10 log2 power pow substr substring left right lpad rpad repeat replace
    ltrim rtrim nullif ifnull isnull coalesce greatest least pg_typeof histogram entropy kurtosis skewness mad
    product sem geomean favg fsum kahan_sum bitstring_agg position overlay trim btrim timezone overlaps
    is_normalized normalize like_escape similar_to_escape
    """.split()
)


def names(node: exp.Func) -> tuple[str | None, str]:
    """(schema, name) of a called function as written, folded to lower case whatever the quoting."""
    schema = None
    parent = node.parent
    if isinstance(parent, exp.Dot) and parent.expression is node:
        schema = parent.this.name.lower()
    name = node.name if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc)) else node.sql_name()
    return schema, str(node.meta.get("written") or name).lower()


def called(tree: exp.Expr) -> Iterator[exp.Func]:
    """Function calls of a tree. Operators and clauses that sqlglot models as functions (AND, CASE) are not."""
    for node in tree.find_all(exp.Func):
        if not isinstance(
            node, (exp.Connector, exp.Case, exp.Cast, exp.If, exp.Exists, exp.Array, exp.Map, exp.Struct)
        ):
            yield node


def check_functions(tree: exp.Query, catalog: Catalog) -> None:
    """Raises QueryRejected (forbidden-function) naming the first function of our tree that may not be called."""
    for node in called(tree):
        schema, name = names(node)
        known = not isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc))
        check_function(schema, name, catalog, known=known)


def check_function(schema: str | None, name: str, catalog: Catalog, *, known: bool = False) -> None:
    """Raises QueryRejected (forbidden-function) unless the function may be called.

    ``name`` is looked up as the engine does it. ``known``: the parser has a class for it, so that a name that the
    catalog lacks is only another spelling of a built-in one, or of a clause.
    """
    folded = name.lower()
    if schema not in (None, "pg_catalog", "main", "system"):
        raise _refused(f"{schema}.{name}", "it is no built-in function")
    if _REFUSED.match(folded):
        raise _refused(folded, "it reads or changes more than the data it is given")
    if folded in RANDOM:
        return
    if catalog.functions:
        volatility = catalog.functions.get(name)
        if volatility == "volatile":
            raise _refused(folded, "it is volatile")
        if volatility is None and not known:
            raise _refused(folded, "it is no built-in function of this engine")
    elif not known and folded not in _PURE and folded.upper() not in exp.FUNCTION_BY_NAME:
        raise _refused(folded, "it is not known to be free of side effects")


def _refused(name: str, why: str) -> QueryRejected:
    return QueryRejected(
        f"the function {name} is not allowed: {why}",
        hint="only built-in functions that are immutable or stable may be called",
        code="forbidden-function",
    )
