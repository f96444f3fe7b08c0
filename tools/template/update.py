"""Merges what the template changed since this project's version into it: update.py [--dry-run] [TEMPLATE]."""

import json
import subprocess
import sys
from pathlib import Path

from rendering import RECORD, Git, Refused, is_in, keep, render, run, take


def update(*words: str) -> int:
    git, dry = Git(Path.cwd()), "--dry-run" in words
    if not Path(RECORD).is_file():
        raise Refused(f"there is no {RECORD} here: only a project that `make new` made can be updated")
    if not dry and git("status", "--porcelain"):
        raise Refused("there are changes: commit them or put them aside (git stash -u), then again")
    was = json.loads(Path(RECORD).read_text("utf-8"))
    source = next((word for word in words if word not in ("", "--dry-run")), was["template"])
    if not git("rev-parse", "-q", "--verify", f"refs/starterkit/{was['tree']}", may_fail=True):  # a clone has no such refs
        git("fetch", "-q", "--no-tags", "--", source, was["tree"])
    now = take(git, source, name=was["name"], without=was["without"])
    if now["tree"] == was["tree"]:
        print(f"Nothing new: this is the template's {was['version']} ({was['commit'][:9]}) already")
        return 0
    tell_news(git, was, now)
    base, theirs = trees(git, was, now)
    if dry:
        print(git("diff", base, theirs))
        return 0
    keep(git, now["tree"])
    labels = {f"GITHEAD_{git('rev-parse', 'HEAD')}": "yours", f"GITHEAD_{theirs}": f"the template's {now['version']}"}
    merge = ["git", "-c", "merge.renames=true", "merge-recursive", base, "--", git("rev-parse", "HEAD"), theirs]
    ended = subprocess.run(merge, env=git.environ | labels).returncode
    Path(git("rev-parse", "--git-path", "MERGE_MSG")).write_text(f"The template's {now['version']}\n", "utf-8")
    said = "Conflicts, named above: mend them, git add them" if ended else "Merged, and not yet committed"
    print(f"{said}. Then: make test, git commit. Undo: git reset --hard")
    return ended


def tell_news(git: Git, was: dict, now: dict) -> None:
    print(f"From the template's {was['version']} ({was['commit'][:9]}) to {now['version']} ({now['commit'][:9]})")
    changes = git("diff", "-U0", was["tree"], now["tree"], "--", "CHANGELOG.md").splitlines()
    print(*(line[1:] for line in changes if line.startswith("+") and not line.startswith("+++")), sep="\n")


def trees(git: Git, was: dict, now: dict) -> list[str]:
    """The two versions as this project has them, with all that is its own as it is in HEAD."""
    (old, _), (new, yours) = render(git, was), render(git, now)
    mine = {path: file for path, file in git.files("HEAD").items() if is_in(path, yours)}
    kits = [{path: file for path, file in files.items() if not is_in(path, yours)} for files in (old, new)]
    both = [git.commit(git.tree(files | mine), "The template") for files in kits]
    for path in git("diff", "-zM", "--name-only", "--diff-filter=D", both[0], "HEAD").split("\0")[:-1]:
        print(f"{path}: you deleted it, and it stays deleted")
    if others := sorted(path for path in {*old, *new} if is_in(path, yours) and old.get(path) != new.get(path)):
        print(f"Yours, and left as they are: {', '.join(others)}")
        print(f"What the template did to its own: git diff {git.tree(old)[:9]} {git.tree(new)[:9]} -- {others[0]}")
    return both


if __name__ == "__main__":
    run(update, *sys.argv[1:])
