"""Sources of candidates. See ``base`` for the contract."""
