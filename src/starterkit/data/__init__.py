"""From a stage's source to rows that can be trusted: read, checked against the schema, split for good."""

from starterkit.data.dataset import Dataset, Rows
from starterkit.data.reader import DatasetReader

__all__ = ["Dataset", "DatasetReader", "Rows"]
