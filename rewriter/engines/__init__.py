"""Engines: the only code that runs SQL. See ``base`` for the contract."""
