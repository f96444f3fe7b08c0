"""Merges what the template changed since this project's version into it: update.py [--dry-run] [TEMPLATE]."""

import json
import re
import subprocess
import sys
from pathlib import Path

from rendering import RECORD, Git, Refused, is_in, render, run, take


def update(*words: str) -> int:
    git, dry = Git(Path.cwd()), "--dry-run" in words
    if not Path(RECORD).is_file() or git("rev-parse", "--show-prefix"):
        raise Refused(f"no {RECORD} at a repository's root here: only a project that `make new` made can be updated")
    if not dry and git("status", "--porcelain"):
        raise Refused("there are changes: commit them or put them aside (git stash -u), then again")
    was = json.loads(Path(RECORD).read_text("utf-8"))
    source = next((word for word in words if word not in ("", "--dry-run")), was["template"])
    if not git("for-each-ref", f"refs/starterkit/{was['tree']}"):  # a clone has no such refs
        git("fetch", "-q", "--no-tags", "--", source, was["tree"], may_fail=True)
    if not git("cat-file", "-t", was["tree"], may_fail=True):
        raise Refused(f"{source} lacks the version of this project, {was['commit']}: name another with TEMPLATE=…")
    now = take(git, source, name=was["name"], without=was["without"])
    if now["tree"] == was["tree"]:
        print(f"Nothing new: this is the template's {was['version']} ({was['commit']}) already")
        return 0
    print(f"From the template's {was['version']} ({was['commit']}) to {now['version']} ({now['commit']})")
    changes = ("diff-tree", "-p", "-U0", was["tree"], now["tree"], "--", "CHANGELOG.md")
    news = re.findall(r"(?m)^(?:@@ .* @@ ?(.*)|\+(?!\+\+ )(.*))$", git("-c", "diff.default.xfuncname=^#.*", *changes))
    once = {head or place: f"\n{head}\n" if head else line for place, (head, line) in enumerate(news)}  # headings
    print(*once.values(), sep="\n")
    base, theirs = trees(git, was, now)
    if dry:
        print(git("diff-tree", "-p", "-M", base, theirs))
        return 0
    merge = ["git", "-c", "merge.renames=true", "merge-recursive", base, "--", "HEAD", theirs]
    ended = subprocess.run(merge, env=git.environ | {f"GITHEAD_{theirs}": "the template's"}).returncode
    print("Conflicts: mend, git add." if ended else "Merged.", "Then: make test, git commit. Undo: git reset --hard")
    return ended


def trees(git: Git, was: dict, now: dict) -> list[str]:
    """The two versions as this project has them, with all that is its own as it is in HEAD."""
    (old, _), (new, yours) = render(git, was), render(git, now)
    mine = {path: file for path, file in git.files("HEAD").items() if is_in(path, yours)}
    kits = [{path: file for path, file in files.items() if not is_in(path, yours)} for files in (old, new)]
    both = [git.commit(git.tree(files | mine), "The template") for files in kits]
    if gone := git("diff-tree", "-r", "-z", "-M", "--name-only", "--diff-filter=D", both[0], "HEAD").replace("\0", " "):
        print(f"You deleted these, and they stay deleted: {gone}")
    if others := sorted(path for path in {*old, *new} if is_in(path, yours) and old.get(path) != new.get(path)):
        print("Yours, and left alone. The template's changes: git diff", git.tree(old), git.tree(new), "--", *others)
    return both


if __name__ == "__main__":
    run(update, *sys.argv[1:])
