"""An application of orders and customers with two slow endpoints: ``python -m examples.orders``."""
