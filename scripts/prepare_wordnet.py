"""WordNet 3.0 for vocabularies such as wordnet:animal.n.01, where nltk finds it.

Usage: python scripts/prepare_wordnet.py [DST] [--source FOLDER]

Without --source: nltk's own download or, where that cannot be reached, Debian's packages wordnet-base and
wordnet-sense-index by apt. FOLDER is one that holds data.noun, such as Debian's /usr/share/wordnet. DST is the first
folder in which nltk looks that can be written, ~/nltk_data as a rule.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from opsnet.utils.errors import InputError, exit_on_user_error
from opsnet.utils.files import write_text

PACKAGES = ("wordnet-base", "wordnet-sense-index")
# Debian leaves this file out: the lexicographers' files by number, each with its part of speech (noun 1, verb 2,
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
    """The 45 lines of the file; the last, for participles, is an adjective's."""
    rows = [(name, pos) for pos, names in LEXNAMES.items() for name in names] + [("adj.ppl", 3)]
    return "".join(f"{number:02d}\t{name}\t{pos}\n" for number, (name, pos) in enumerate(rows))


def install(source: Path, dst: Path) -> None:
    """Copies WordNet's files; the folder appears when it is whole.

    Raises:
        InputError: ``source`` is not WordNet.
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
    """Debian's packages, unpacked without being installed.

    Raises:
        InputError: there is no apt, or it cannot get them.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(["apt-get", "download", *PACKAGES], cwd=folder, check=True, capture_output=True)
            for package in Path(folder).glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", package, folder], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise InputError(
                f"neither nltk nor apt could get WordNet ({error}): get WordNet 3.0 elsewhere and give --source FOLDER"
            ) from error
        install(Path(folder) / "usr" / "share" / "wordnet", dst)


def main(words: Sequence[str] | None = None) -> None:
    """Gets WordNet unless it is there."""
    import nltk

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dst", type=Path, nargs="?", default=Path(nltk.data.path[0]), help="a folder where nltk looks")
    parser.add_argument("--source", type=Path, help="folder that holds data.noun")
    options = parser.parse_args(words)
    folder = options.dst.expanduser() / "corpora" / "wordnet"
    with exit_on_user_error():
        if folder.is_dir():
            print(f"{folder} is there already")
        elif options.source is not None:
            install(options.source, folder)
        elif not nltk.download("wordnet", download_dir=str(options.dst), quiet=True):
            by_debian(folder)
        if str(options.dst) not in nltk.data.path:
            print(f"set NLTK_DATA={options.dst}, or nltk will not look there")
        print(f"WordNet is in {folder.parent}: vocabulary=wordnet:animal.n.01 works now")


if __name__ == "__main__":
    main()
