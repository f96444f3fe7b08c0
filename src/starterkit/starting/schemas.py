"""The schema's source: a line a column, with what was guessed above it."""

from starterkit.starting.expressions import call, comment, listed, literal, number
from starterkit.starting.names import class_name
from starterkit.starting.planning import Field, Plan


def schema_lines(plan: Plan) -> list[str]:
    lines = [
        f"class {class_name(plan.name)}(pa.DataFrameModel):",
        '    """One row a record. Rows outside these bounds are refused, and training stops to say so."""',
        "",
    ]
    by_role = {role: [one for one in plan.fields if one.role == role] for role in ("identifier", "group", "feature")}
    keys = [line for one in (*by_role["identifier"], *by_role["group"]) for line in _field(one)]
    if plan.key is None:
        keys = [f'    record: str = {plan.record_role}(description="made by record_of: the table has no id")']
    features = [line for one in by_role["feature"] for line in _field(one)]
    return [*lines, *keys, "", *features, "", *_field(plan.target)]


def _field(one: Field) -> list[str]:
    said = [] if one.role in ("identifier", "group") else [[f'sensitivity="{one.sensitivity}"']]
    if one.unit:
        said.append([f"unit={literal(one.unit)}"])
    if one.bounds:
        low, high = (number(bound, one.type == "int") for bound in one.bounds)
        said += [[f"ge={low}"], [f"le={high}"]]
    if one.categories:
        said.append(listed("isin=", one.categories, 8))
        said[-1][0] = said[-1][0].strip()
        said[-1][1:] = [line[8:] for line in said[-1][1:]]
    if one.nullable:
        said.append(["nullable=True"])
    review = comment(f"review: {one.review}", indent=4) if one.review else []
    return [*review, *call(f"{one.name}: {one.type} = {one.role}", said, 4)]
