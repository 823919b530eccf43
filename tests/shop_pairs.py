"""Pairs of queries over the shop of ``tests/verify``: what is equivalent, and what only looks so."""

from __future__ import annotations

EQUIVALENT = {
    "join on a foreign key that is not null": (
        "SELECT o.id FROM orders o JOIN customer c ON c.id = o.customer_id",
        "SELECT id FROM orders",
    ),
    "join on a foreign key that may be null": (
        "SELECT o.id FROM orders o JOIN customer c ON c.id = o.referrer_id",
        "SELECT id FROM orders WHERE referrer_id IS NOT NULL",
    ),
    "left join by a key that nobody reads": (
        "SELECT o.id FROM orders o LEFT JOIN customer c ON c.id = o.referrer_id",
        "SELECT id FROM orders",
    ),
    "left join with a filter that rejects NULL": (
        "SELECT o.id, c.city FROM orders o LEFT JOIN customer c ON c.id = o.referrer_id WHERE c.credit > 1",
        "SELECT o.id, c.city FROM orders o JOIN customer c ON c.id = o.referrer_id AND c.credit > 1",
    ),
    "self-join by the key": (
        "SELECT a.name, b.city FROM customer a JOIN customer b ON a.id = b.id",
        "SELECT name, city FROM customer",
    ),
    "semi-join as a join with DISTINCT": (
        "SELECT c.id FROM customer c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
        "SELECT DISTINCT c.id FROM customer c JOIN orders o ON o.customer_id = c.id",
    ),
    "NOT IN over columns that are never NULL": (
        "SELECT id FROM customer WHERE id NOT IN (SELECT customer_id FROM orders)",
        "SELECT c.id FROM customer c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
    ),
    "DISTINCT over a key": ("SELECT DISTINCT id, name FROM customer", "SELECT id, name FROM customer"),
    "OR as a union of disjoint branches": (
        "SELECT id FROM orders WHERE total > 10 OR status = 'open'",
        "SELECT id FROM orders WHERE total > 10 UNION ALL"
        " SELECT id FROM orders WHERE status = 'open' AND (total <= 10 OR total IS NULL)",
    ),
    "correlated aggregate as a join": (
        "SELECT o.id FROM orders o"
        " WHERE o.total > (SELECT MAX(p.price) FROM item p WHERE p.order_id = o.id)",
        "SELECT o.id FROM orders o JOIN (SELECT order_id, MAX(price) AS top FROM item GROUP BY order_id) m"
        " ON m.order_id = o.id WHERE o.total > m.top",
    ),
    "sum of partial sums": (
        "SELECT o.customer_id, SUM(i.price) AS s FROM orders o JOIN item i ON i.order_id = o.id GROUP BY o.customer_id",
        "SELECT o.customer_id, SUM(p.s) AS s FROM orders o"
        " JOIN (SELECT order_id, SUM(price) AS s FROM item GROUP BY order_id) p ON p.order_id = o.id"
        " GROUP BY o.customer_id",
    ),
    "HAVING on a key as WHERE": (
        "SELECT city, COUNT(*) FROM customer GROUP BY city HAVING city = 'Rome'",
        "SELECT city, COUNT(*) FROM customer WHERE city = 'Rome' GROUP BY city",
    ),
    "a check constraint decides a filter": ("SELECT id FROM orders", "SELECT id FROM orders WHERE status <> 'lost'"),
    "windowed total as a correlated one": (
        "SELECT id, SUM(total) OVER (PARTITION BY customer_id) AS s FROM orders",
        "SELECT o.id, (SELECT SUM(p.total) FROM orders p WHERE p.customer_id = o.customer_id) AS s FROM orders o",
    ),
    "INTERSECT as a semi-join": (
        "SELECT customer_id FROM orders INTERSECT SELECT id FROM customer WHERE city = 'Rome'",
        "SELECT DISTINCT customer_id FROM orders"
        " WHERE customer_id IN (SELECT id FROM customer WHERE city = 'Rome')",
    ),
    "a finer order": (
        "SELECT id, city FROM customer ORDER BY city",
        "SELECT id, city FROM customer ORDER BY city, id DESC",
    ),
    "tests for NULL": (
        "SELECT id FROM customer WHERE city IS NOT NULL AND name IS NULL",
        "SELECT id FROM customer WHERE city = city AND NOT (name IS NOT NULL)",
    ),
    "a CTE read twice": (
        "WITH big AS (SELECT * FROM orders WHERE total > 9) SELECT a.id FROM big a JOIN big b ON a.day = b.day",
        "SELECT a.id FROM orders a, orders b WHERE a.day = b.day AND a.total > 9 AND b.total > 9",
    ),
    "grouping sets as a union": (
        "SELECT city, COUNT(*) AS n FROM customer GROUP BY ROLLUP (city)",
        "SELECT city, COUNT(*) AS n FROM customer GROUP BY city UNION ALL SELECT NULL, COUNT(*) FROM customer",
    ),
}  # fmt: skip

DIFFERENT = {
    "join on a foreign key that may be null": (
        "SELECT o.id FROM orders o JOIN customer c ON c.id = o.referrer_id",
        "SELECT id FROM orders",
    ),
    "NOT IN over a column that may be NULL": (
        "SELECT id FROM customer WHERE id NOT IN (SELECT referrer_id FROM orders)",
        "SELECT c.id FROM customer c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.referrer_id = c.id)",
    ),
    "DISTINCT over a UNIQUE column that may be NULL": (
        "SELECT DISTINCT mail FROM customer",
        "SELECT mail FROM customer",
    ),
    "self-join by a column that may be NULL": (
        "SELECT a.id FROM customer a JOIN customer b ON a.mail = b.mail",
        "SELECT id FROM customer",
    ),
    "semi-join as a join without DISTINCT": (
        "SELECT c.id FROM customer c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
        "SELECT c.id FROM customer c JOIN orders o ON o.customer_id = c.id",
    ),
    "cross join as LEFT JOIN ON TRUE": (
        "SELECT c.id FROM customer c LEFT JOIN visit v ON TRUE",
        "SELECT c.id FROM customer c CROSS JOIN visit v",
    ),
    "COUNT over no rows": (
        "SELECT COUNT(*) FROM visit",
        "SELECT COUNT(*) FROM visit GROUP BY 1 = 1",
    ),
    "overlapping branches": (
        "SELECT id FROM orders WHERE total > 10 OR total > 20",
        "SELECT id FROM orders WHERE total > 10 UNION ALL SELECT id FROM orders WHERE total > 20",
    ),
    "addition of doubles is not associative": (
        "SELECT (v.seconds + w.seconds) + x.seconds FROM visit v, visit w, visit x",
        "SELECT v.seconds + (w.seconds + x.seconds) FROM visit v, visit w, visit x",
    ),
    "count of a column that may be NULL": ("SELECT COUNT(city) FROM customer", "SELECT COUNT(*) FROM customer"),
    "an average of averages": (
        "SELECT AVG(total) FROM orders",
        "SELECT AVG(m) FROM (SELECT AVG(total) AS m FROM orders GROUP BY customer_id) t",
    ),
    "order lost": ("SELECT id FROM customer ORDER BY city", "SELECT id FROM customer"),
    "another limit": (
        "SELECT id FROM customer ORDER BY id LIMIT 2",
        "SELECT id FROM customer ORDER BY id LIMIT 3",
    ),
    "INTERSECT as a join of nullable columns": (
        "SELECT referrer_id FROM orders INTERSECT SELECT customer_id FROM visit",
        "SELECT DISTINCT o.referrer_id FROM orders o JOIN visit v ON v.customer_id = o.referrer_id",
    ),
    "IS NOT NULL and IS NULL": (
        "SELECT id FROM customer WHERE city IS NOT NULL",
        "SELECT id FROM customer WHERE city IS NULL",
    ),
    "IS NOT TRUE and IS FALSE": (
        "SELECT id FROM customer WHERE (credit > 1) IS NOT TRUE",
        "SELECT id FROM customer WHERE (credit > 1) IS FALSE",
    ),
    "volatile": ("SELECT RANDOM() FROM customer", "SELECT RANDOM() FROM customer"),
}
