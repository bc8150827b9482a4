"""Installs WordNet 3.0 for vocabularies such as wordnet:animal.n.01, where nltk finds it.

Without --source it is downloaded by nltk or, if that fails, from Debian's packages wordnet-base and
wordnet-sense-index with apt. FOLDER is a folder that holds data.noun, such as Debian's /usr/share/wordnet. DST is the
first folder in nltk's search path, usually ~/nltk_data.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from argparse import ArgumentParser
from pathlib import Path

from opsnet.utils.errors import InputError
from opsnet.utils.files import write_text

PACKAGES = ("wordnet-base", "wordnet-sense-index")
# Debian omits this file: the lexicographers' files by number, each with its part of speech (noun 1, verb 2,
# adjective 3, adverb 4).
LEXNAMES = {
    3: ("adj.all", "adj.pert"),
    4: ("adv.all",),
    1: (
        "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute", "noun.body", "noun.cognition",
        "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group", "noun.location", "noun.motive",
        "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession", "noun.process",
        "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    ),
    2: (
        "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
        "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
        "verb.social", "verb.stative", "verb.weather",
    ),
}  # fmt: skip


def lexnames() -> str:
    """The 45 lines of the file; the last one, for participles, counts as adjective."""
    rows = [(name, pos) for pos, names in LEXNAMES.items() for name in names] + [("adj.ppl", 3)]
    return "".join(f"{number:02d}\t{name}\t{pos}\n" for number, (name, pos) in enumerate(rows))


def install(source: Path, dst: Path) -> None:
    """Copies WordNet's files; the folder appears only when it is complete.

    Raises:
        InputError: ``source`` is not a folder of WordNet.
    """
    if not (source / "data.noun").is_file() or not (source / "index.sense").is_file():
        raise InputError(f"{source} does not hold data.noun and index.sense: give a folder of WordNet 3.0's files")
    unfinished = dst.with_name(".wordnet.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished)
    if not (unfinished / "lexnames").is_file():
        write_text(unfinished / "lexnames", lexnames())
    unfinished.rename(dst)


def by_debian(dst: Path) -> None:
    """Unpacks Debian's packages without installing them.

    Raises:
        InputError: apt is not available or cannot download them.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(["apt-get", "download", *PACKAGES], cwd=folder, check=True, capture_output=True)
            for package in Path(folder).glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", package, folder], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise InputError(
                f"neither nltk nor apt could download WordNet ({error}): download WordNet 3.0 and give --source FOLDER"
            ) from error
        install(Path(folder) / "usr" / "share" / "wordnet", dst)


def add_arguments(parser: ArgumentParser) -> None:
    """The command line of ``opsnet-prepare wordnet``."""
    parser.set_defaults(run=prepare)
    parser.add_argument("dst", type=Path, metavar="DST", nargs="?", help="a folder in nltk's search path")
    parser.add_argument("--source", type=Path, metavar="FOLDER", help="folder that holds data.noun")


def prepare(dst: Path | None = None, *, source: Path | None = None) -> None:
    """Installs WordNet unless it exists.

    Args:
        dst: a folder in nltk's search path; by default the first.
        source: a folder of WordNet's files, instead of a download.

    Raises:
        InputError: ``source`` is not a folder of WordNet, or WordNet cannot be downloaded.
    """
    import nltk

    dst = Path(nltk.data.path[0]) if dst is None else dst.expanduser()
    folder = dst / "corpora" / "wordnet"
    if folder.is_dir():
        print(f"{folder} already exists")
    elif source is not None:
        install(source, folder)
    elif not nltk.download("wordnet", download_dir=str(dst), quiet=True):
        by_debian(folder)
    if str(dst) not in nltk.data.path:
        print(f"set NLTK_DATA={dst}, because nltk does not search there by default")
    print(f"WordNet is installed in {folder.parent}: vocabulary=wordnet:animal.n.01 can be used")
