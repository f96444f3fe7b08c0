"""Turns a version of the template into a project: a tree of git's in, files out, and no working tree between them."""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

MANIFEST, RECORD = "tools/template/parts.toml", ".starterkit.json"
PART = re.compile(r"(?ms)^ *(?:#|//|<!--) <([a-z]+)>(?: -->)?\r?\n(.*?)^ *(?:#|//|<!--) </\1>(?: -->)?\r?\n")
SECRET = re.compile(r"(?:(?<=https://)|(?<=http://))[^/]*@|(?<=://)[^/@]*:[^/]*@")
OF_A_HOOK = re.compile("GIT_(DIR|WORK_TREE|INDEX_FILE|PREFIX|OBJECT_DIRECTORY|COMMON_DIR)")
Files = dict[str, tuple[str, str]]  # a path's mode and object


class Refused(Exception):
    """What cannot be done; the message is one line and says what to do."""


class Git:
    """git in one folder. Its texts keep bytes that are no UTF-8."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {key: value for key, value in os.environ.items() if not OF_A_HOOK.match(key)} | {"LC_ALL": "C"}

    def __call__(self, *words: str, given: str = "", may_fail: bool = False, **environ: str) -> str:
        command, stdin = ["git", "-C", str(self.root), *words], given.encode("utf-8", "surrogateescape")
        answer = subprocess.run(command, input=stdin, capture_output=True, env=self.environ | environ)
        if answer.returncode and not may_fail:
            said = re.findall("(?m)^(?:error|fatal): (.+)", answer.stderr.decode(errors="replace"))  # the first is why
            raise Refused(f"git {words[0]} fails: {SECRET.sub('', said[0] if said else 'it gives no reason')}")
        return "" if answer.returncode else answer.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")

    def commit(self, tree: str, message: str, *options: str) -> str:
        known = self("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT", may_fail=True)
        someone = () if known else ("-c", "user.name=starterkit", "-c", "user.email=starterkit@localhost")
        return self(*someone, "commit-tree", tree, *options, "-m", message)

    def files(self, tree: str) -> Files:
        lines = [re.split("[ \t]", one, maxsplit=3) for one in self("ls-tree", "-rz", tree).split("\0")[:-1]]
        return {path: (mode, blob) for mode, _, blob, path in lines}

    def tree(self, files: Files) -> str:
        lines = "".join(f"{mode} {blob}\t{path}\0" for path, (mode, blob) in files.items())
        with tempfile.TemporaryDirectory() as folder:
            self("update-index", "-z", "--index-info", given=lines, GIT_INDEX_FILE=f"{folder}/index")
            return self("write-tree", GIT_INDEX_FILE=f"{folder}/index")


def take(git: Git, source: str, **record: Any) -> dict[str, Any]:
    """Fetch a template, and its record: a folder's tracked files as they stand, or a repository's HEAD."""
    if (Path(source) / MANIFEST).is_file():
        theirs = Git(Path(source))
        commit = theirs("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
        tree = theirs("rev-parse", f"{theirs('stash', 'create') or 'HEAD'}^{{tree}}")
        git("fetch", "-q", "--no-tags", "--", str(Path(source).absolute()), tree)
    else:
        git("fetch", "-q", "--no-tags", "--", source, "HEAD")
        commit, tree = git("rev-parse", "FETCH_HEAD", "FETCH_HEAD^{tree}").split()
    if not git("ls-tree", tree, MANIFEST):
        raise Refused(f"{SECRET.sub('', source)} is no template, or an older one: name another with TEMPLATE=…")
    version = tomllib.loads(git("show", f"{tree}:pyproject.toml"))["project"]["version"]
    # The next update's base: the template itself does not have what was never committed.
    git("update-ref", f"refs/starterkit/{tree}", git.commit(tree, "The template as it was"))
    return {**record, "template": SECRET.sub("", source), "version": version, "commit": commit, "tree": tree}


def render(git: Git, record: dict[str, Any]) -> tuple[Files, list[str]]:
    """The files of a project of this name, without these parts; and the patterns of those that are its own."""
    manifest, name = tomllib.loads(git("show", f"{record['tree']}:{MANIFEST}")), record["name"]
    gone = {part for part in manifest["parts"] if {part, manifest["needs"].get(part)} & {*record["without"]}}
    imports = rf"(?m)(?:^from (?:{name}|starterkit)\b.*\n)+"  # the linter wants these in the order of their names
    left_out = [path for part in gone for path in manifest["parts"][part]]

    def renamed(text: str) -> str:
        for old, new in manifest["names"].items():
            new = new.replace("{name}", name).replace("{distribution}", name.replace("_", "-"))
            text = re.sub(old, new, text, flags=re.MULTILINE)
        return re.sub(imports, lambda found: "".join(sorted(found[0].splitlines(keepends=True))), text)

    def chosen(text: str) -> str:
        return PART.sub(lambda part: "" if part[1] in {*gone, "template"} else chosen(part[2]), text)

    files = {
        renamed(path): entry
        for path, entry in git.files(record["tree"]).items()
        if not is_in(path, left_out) and (is_in(path, manifest["yours"]) or not is_in(path, manifest["stays"]))
    }
    asked = "\n".join(blob for _, blob in files.values())
    answer = io.BytesIO(git("cat-file", "--batch", given=asked).encode("utf-8", "surrogateescape"))
    for path, (mode, _) in [*files.items()]:
        text = answer.read(int(answer.readline().split()[2]) + 1)[:-1].decode("utf-8", "surrogateescape")
        if "\0" not in text and (new := renamed(chosen(text))) != text:
            files[path] = (mode, git("hash-object", "-w", "--stdin", given=new))
    files[RECORD] = ("100644", git("hash-object", "-w", "--stdin", given=json.dumps(record, indent=2) + "\n"))
    return files, [renamed(one) for one in manifest["yours"]]


def is_in(path: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(path, f"{one}*" if one.endswith("/") else one) for one in patterns)


def run(command: Any, *words: str) -> None:
    try:
        sys.exit(command(*words))
    except (Refused, OSError, KeyboardInterrupt) as error:  # no git, a folder that cannot be written, a full disk
        print(f"template: {str(error) or 'stopped'}", file=sys.stderr)
        sys.exit(2)
