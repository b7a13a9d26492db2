"""Texts with personal data, made from templates: which kinds of it a text holds, several or none.

A template names its values, as in `Please block card no {{credit_card_number}}`; Faker makes them up. Parts are split
by template, so that no sentence that is tested was trained on with another name in it.
"""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Callable, Mapping

from spartanc.errors import MissingToolError
from spartanc.runtime_py.data import Example

FAKER = "Faker==40.63.0"  # another version makes other values
ROWS_OF_A_TEMPLATE = 14
# What a template names, by the kind of data that it is.
KINDS = {
    "address": "address street_name building_number secondary_address postcode zipcode state_abbr",
    "age": "age",
    "bank account": "iban",
    "card number": "credit_card_number",
    "date": "date_time date_of_birth year day_of_week",
    "email": "email",
    "identity number": "ssn us_driver_license",
    "internet": "url ip_address",
    "job": "job",
    "nationality": "nationality nation_woman nation_plural",
    "organization": "organization",
    "person": "person name name_male name_female first_name first_name_male first_name_female first_name_nonbinary"
    " last_name last_name_male last_name_female",
    "phone": "phone_number",
    "place": "city country",
    "title": "prefix prefix_male prefix_female",
}
_KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split()}
_VALUE = re.compile(r"\{\{(\w+)\}\}")
# In which parts the templates of one kind go, rare kinds first: one that has few is trained on before it is tested.
_PARTS = ("train", "test", "train", "dev", "train", "test", "train", "dev", "train", "train")

Fill = Callable[[str], str]  # a value for a name


def make_examples(templates: str, fill: Fill, seed: int) -> dict[str, list[Example]]:
    """Train, dev and test rows of `templates`, one a line in which `\\n` is a line break; each with its kinds."""
    draw = random.Random(seed)
    texts = [line.replace("\\n", "\n").strip() for line in templates.splitlines() if line.strip()]
    parts: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for text, part in split_templates(dict.fromkeys(texts), draw).items():
        labels = tuple(sorted(kinds_of(text)))
        for _ in range(ROWS_OF_A_TEMPLATE if labels else 1):
            filled = _VALUE.sub(lambda match: fill(match[1]), text)
            parts[part].append(Example(filled, None, labels))
    for rows in parts.values():
        draw.shuffle(rows)
    return parts


def kinds_of(template: str) -> set[str]:
    return {_KIND_OF[name] for name in _VALUE.findall(template)}


def split_templates(templates: Mapping[str, object], draw: random.Random) -> dict[str, str]:
    """The part of every template."""
    drawn = list(templates)
    draw.shuffle(drawn)
    of_kind = {kind: [each for each in drawn if kind in kinds_of(each)] for kind in KINDS}
    of_kind[""] = drawn  # those that hold nothing come last
    parts: dict[str, str] = {}
    for kind in sorted(of_kind, key=lambda kind: (kind == "", len(of_kind[kind]), kind)):
        left = [template for template in of_kind[kind] if template not in parts]
        parts |= {template: _PARTS[number % len(_PARTS)] for number, template in enumerate(left)}
    return parts


def faker_values(nationalities: str, seed: int) -> Fill:
    """Made-up values; `nationalities` is a CSV file of them. Raises MissingToolError where Faker is missing."""
    try:
        from faker import Faker
    except ImportError as error:
        raise MissingToolError("the values of this task are made by Faker", hint=f"pip install {FAKER}") from error
    fake = Faker("en_US")
    fake.seed_instance(seed)
    nations = list(csv.DictReader(io.StringIO(nationalities)))

    def nation(column: str) -> str:
        return fake.random_element(nations)[column].capitalize()

    own: dict[str, Callable[[], str]] = {
        "age": lambda: str(fake.random_int(18, 95)),
        "date_of_birth": lambda: fake.date_of_birth().strftime(
            fake.random_element(("%Y-%m-%d", "%m/%d/%Y", "%B %d, %Y"))
        ),
        "date_time": lambda: fake.date_time().strftime(fake.random_element(("%Y-%m-%d %H:%M", "%B %d at %I %p"))),
        "first_name_nonbinary": fake.first_name,
        "ip_address": fake.ipv4,
        "nation_plural": lambda: nation("plural"),
        "nation_woman": lambda: nation("woman"),
        "nationality": lambda: nation("nationality"),
        "organization": fake.company,
        "person": fake.name,
        "us_driver_license": lambda: fake.bothify("?#######").upper(),
    }
    return lambda name: str(own[name]() if name in own else getattr(fake, name)())
