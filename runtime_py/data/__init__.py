"""Labelled texts from files, one module a format. Needs no torch, and no pyarrow until a file asks for it.

    example.py      a row: text, second text, label
    columns.py      which columns these stand in
    reading.py      `read_examples`: any file by its name
    json_lines.py   .jsonl, .ndjson, .json and names without an ending
    delimited.py    .csv and .tsv
    tables.py       .parquet, .arrow and `save_to_disk` folders, by pyarrow
    writing.py      answers as .csv, .jsonl or .parquet
    labels.py       labels as positions of classes, as sets of them, or as numbers
    asking.py       whether a model can be asked such texts
    counting.py     empty, duplicate and contradictory rows

The text formats (also gzipped) are read by Python's own library: they must work on a board without pyarrow, and
pyarrow keeps neither the line of a row nor how a number was spelled, which is the name of its class.
"""

from spartanc.runtime_py.data.asking import as_examples, require_texts
from spartanc.runtime_py.data.columns import Columns, require_data
from spartanc.runtime_py.data.counting import count_rows
from spartanc.runtime_py.data.example import Example, place
from spartanc.runtime_py.data.labels import label_indices, label_numbers, label_sets
from spartanc.runtime_py.data.reading import read_examples

__all__ = [
    "Columns",
    "Example",
    "as_examples",
    "count_rows",
    "label_indices",
    "label_numbers",
    "label_sets",
    "place",
    "read_examples",
    "require_data",
    "require_texts",
]
