"""The two suites and the keys of their tables (TPC-H specification 3.0.1, TPC-DS specification 4.0.0)."""

from __future__ import annotations

from dataclasses import dataclass

ForeignKey = tuple[str, str, str]  # own columns, parent, the parent's columns
ForeignKeys = dict[str, list[ForeignKey]]  # by table


@dataclass(frozen=True)
class Suite:
    """``name`` is ``h`` or ``ds``; ``extension`` the DuckDB extension that has its generator and queries."""

    name: str
    extension: str
    generator: str
    queries: str
    primary_keys: dict[str, str]
    foreign_keys: ForeignKeys

    def label(self, scale: float) -> str:
        """``tpcds_0_1``: the name of the suite at a scale, for databases and files."""
        return f"tpc{self.name}_{scale:g}".replace(".", "_")


_DS_KEYS = {
    "call_center": "cc_call_center_sk",
    "catalog_page": "cp_catalog_page_sk",
    "catalog_returns": "cr_item_sk, cr_order_number",
    "catalog_sales": "cs_item_sk, cs_order_number",
    "customer": "c_customer_sk",
    "customer_address": "ca_address_sk",
    "customer_demographics": "cd_demo_sk",
    "date_dim": "d_date_sk",
    "household_demographics": "hd_demo_sk",
    "income_band": "ib_income_band_sk",
    "inventory": "inv_date_sk, inv_item_sk, inv_warehouse_sk",
    "item": "i_item_sk",
    "promotion": "p_promo_sk",
    "reason": "r_reason_sk",
    "ship_mode": "sm_ship_mode_sk",
    "store": "s_store_sk",
    "store_returns": "sr_item_sk, sr_ticket_number",
    "store_sales": "ss_item_sk, ss_ticket_number",
    "time_dim": "t_time_sk",
    "warehouse": "w_warehouse_sk",
    "web_page": "wp_web_page_sk",
    "web_returns": "wr_item_sk, wr_order_number",
    "web_sales": "ws_item_sk, ws_order_number",
    "web_site": "web_site_sk",
}

# What a surrogate key column refers to, by the end of its name.
_DS_ENDINGS = {
    "_date_sk": "date_dim",
    "_time_sk": "time_dim",
    "_item_sk": "item",
    "_customer_sk": "customer",
    "_cdemo_sk": "customer_demographics",
    "_hdemo_sk": "household_demographics",
    "_addr_sk": "customer_address",
    "_store_sk": "store",
    "_call_center_sk": "call_center",
    "_catalog_page_sk": "catalog_page",
    "_ship_mode_sk": "ship_mode",
    "_warehouse_sk": "warehouse",
    "_promo_sk": "promotion",
    "_web_page_sk": "web_page",
    "_web_site_sk": "web_site",
    "_reason_sk": "reason",
    "_income_band_sk": "income_band",
}

_DS_COLUMNS = {
    "call_center": "cc_closed_date_sk cc_open_date_sk",
    "catalog_page": "cp_start_date_sk cp_end_date_sk",
    "catalog_returns": "cr_returned_date_sk cr_returned_time_sk cr_item_sk cr_refunded_customer_sk "
    "cr_refunded_cdemo_sk cr_refunded_hdemo_sk cr_refunded_addr_sk cr_returning_customer_sk cr_returning_cdemo_sk "
    "cr_returning_hdemo_sk cr_returning_addr_sk cr_call_center_sk cr_catalog_page_sk cr_ship_mode_sk "
    "cr_warehouse_sk cr_reason_sk",
    "catalog_sales": "cs_sold_date_sk cs_sold_time_sk cs_ship_date_sk cs_bill_customer_sk cs_bill_cdemo_sk "
    "cs_bill_hdemo_sk cs_bill_addr_sk cs_ship_customer_sk cs_ship_cdemo_sk cs_ship_hdemo_sk cs_ship_addr_sk "
    "cs_call_center_sk cs_catalog_page_sk cs_ship_mode_sk cs_warehouse_sk cs_item_sk cs_promo_sk",
    "customer": "c_current_cdemo_sk c_current_hdemo_sk c_current_addr_sk c_first_shipto_date_sk c_first_sales_date_sk",
    "household_demographics": "hd_income_band_sk",
    "inventory": "inv_date_sk inv_item_sk inv_warehouse_sk",
    "promotion": "p_start_date_sk p_end_date_sk p_item_sk",
    "store": "s_closed_date_sk",
    "store_returns": "sr_returned_date_sk sr_return_time_sk sr_item_sk sr_customer_sk sr_cdemo_sk sr_hdemo_sk "
    "sr_addr_sk sr_store_sk sr_reason_sk",
    "store_sales": "ss_sold_date_sk ss_sold_time_sk ss_item_sk ss_customer_sk ss_cdemo_sk ss_hdemo_sk ss_addr_sk "
    "ss_store_sk ss_promo_sk",
    "web_page": "wp_creation_date_sk wp_access_date_sk wp_customer_sk",
    "web_returns": "wr_returned_date_sk wr_returned_time_sk wr_item_sk wr_refunded_customer_sk wr_refunded_cdemo_sk "
    "wr_refunded_hdemo_sk wr_refunded_addr_sk wr_returning_customer_sk wr_returning_cdemo_sk wr_returning_hdemo_sk "
    "wr_returning_addr_sk wr_web_page_sk wr_reason_sk",
    "web_sales": "ws_sold_date_sk ws_sold_time_sk ws_ship_date_sk ws_item_sk ws_bill_customer_sk ws_bill_cdemo_sk "
    "ws_bill_hdemo_sk ws_bill_addr_sk ws_ship_customer_sk ws_ship_cdemo_sk ws_ship_hdemo_sk ws_ship_addr_sk "
    "ws_web_page_sk ws_web_site_sk ws_ship_mode_sk ws_warehouse_sk ws_promo_sk",
    "web_site": "web_open_date_sk web_close_date_sk",
}


def _ds_foreign_keys() -> ForeignKeys:
    keys: ForeignKeys = {}
    for table, columns in _DS_COLUMNS.items():
        keys[table] = []
        for column in columns.split():
            (parent,) = [target for ending, target in _DS_ENDINGS.items() if column.endswith(ending)]
            keys[table].append((column, parent, _DS_KEYS[parent]))
    for returns, sales in (("store", "store"), ("catalog", "catalog"), ("web", "web")):
        child = f"{returns}_returns"
        keys[child].append((_DS_KEYS[child], f"{sales}_sales", _DS_KEYS[f"{sales}_sales"]))
    return keys


DS = Suite("ds", "tpcds", "dsdgen", "tpcds_queries", _DS_KEYS, _ds_foreign_keys())

H = Suite(
    "h",
    "tpch",
    "dbgen",
    "tpch_queries",
    {
        "region": "r_regionkey",
        "nation": "n_nationkey",
        "supplier": "s_suppkey",
        "customer": "c_custkey",
        "part": "p_partkey",
        "partsupp": "ps_partkey, ps_suppkey",
        "orders": "o_orderkey",
        "lineitem": "l_orderkey, l_linenumber",
    },
    {
        "nation": [("n_regionkey", "region", "r_regionkey")],
        "supplier": [("s_nationkey", "nation", "n_nationkey")],
        "customer": [("c_nationkey", "nation", "n_nationkey")],
        "partsupp": [("ps_partkey", "part", "p_partkey"), ("ps_suppkey", "supplier", "s_suppkey")],
        "orders": [("o_custkey", "customer", "c_custkey")],
        "lineitem": [
            ("l_orderkey", "orders", "o_orderkey"),
            ("l_partkey, l_suppkey", "partsupp", "ps_partkey, ps_suppkey"),
        ],
    },
)

SUITES = {"h": H, "ds": DS}
