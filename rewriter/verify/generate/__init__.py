"""Small databases that satisfy a catalog's constraints and are steered by the two queries to be told apart."""

from rewriter.verify.generate.databases import Generator
from rewriter.verify.generate.relations import Relation, relations, unsupported

__all__ = ["Generator", "Relation", "relations", "unsupported"]
