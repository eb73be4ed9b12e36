"""`docs/api.md` and the schemas agree on what is refused."""

import jsonschema
import pytest

from tests.gateway.test_api_doc import APIS, NEIGHBOURS, rows_for, rows_of

ROWS = {
    **{name: (*APIS[name], rows_for(name)) for name in APIS},
    **{name: (*NEIGHBOURS[name], rows_of(name)) for name in NEIGHBOURS},
}


@pytest.mark.parametrize("section", ROWS)
def test_the_schema_takes_what_is_taken_and_no_more(document, section, subtests):
    """A field that is refused has no value in the schema that asks for anything."""
    path, _, body, rows = ROWS[section]
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema.Draft202012Validator(schema | {"components": document["components"]})
    for row in rows.values():
        with subtests.test(field=row.field):
            fits = validator.is_valid({"model": "tiny"} | body | row.example)

            assert fits == (row.fate != "refused")
