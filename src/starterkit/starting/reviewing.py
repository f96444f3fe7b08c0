"""What somebody should look at in the written problem, in words."""

from starterkit.starting.planning import Plan


def review(plan: Plan, learnt: bool, source: str, earlier: str, is_template: bool) -> list[str]:
    """A line for each thing. `earlier` is the data that was used before, where it is still there."""
    lines = []
    if not learnt:
        lines.append("the columns tell no more than a naive guess, so the gate will refuse: find better ones")
    sensitive = [one.name for one in plan.fields if one.sensitive]
    lines.append(f"sensitive by their names: {', '.join(sensitive) or 'none'}; only you know whether that is all")
    if plan.left_out:
        lines.append(f"left out: {', '.join(plan.left_out)}; problem.py says why")
    if plan.key is None:
        lines.append("the table has no id: rows are told apart by their content")
    lines += [f"{one.name}: {one.review}" for one in plan.fields if one.review and not one.sensitive]
    lines.append(f"bounds and units in the schema, and whether {source} may be committed to git")
    if earlier:
        lines.append(f"of the earlier problem, yours to delete: {earlier}, what data/README.md and README.md say of it")
    if is_template:
        lines.append("this is the template, whose own tests need its example: begin in a project of it (README.md)")
    return lines
