"""Feeds one reader with inputs that atheris (libFuzzer) finds, guided by what they make it run.

python tests/fuzz/guided.py READER NUMBER_OF_INPUTS FOLDER

FOLDER takes the inputs that led to new code, and the one at which a fault was found, if any. The
exit status is 0 if there was none.
"""

import os
import resource
import sys
import warnings
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
with atheris.instrument_imports(include=["zoo", "train", "targets", "json", "ml_collections"]):
    import targets


def main() -> None:
    """Runs until a fault or the end."""
    _, name, count, folder = sys.argv
    warnings.simplefilter("ignore")
    corpus = Path(folder) / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(targets.SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(content)
        targets.TARGETS[name](content)  # a good input is read without an error
    # libFuzzer compares its limit with the peak that the system has for this process, and Linux
    # starts that with the size of the process that started it (getrusage(2), kept by exec).
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # from KiB
    options = [f"-runs={count}", "-timeout=20", "-max_len=20000", "-seed=1", "-verbosity=1"]
    options += [f"-rss_limit_mb={before_mb + 4096}", "-print_final_stats=1"]
    options += [f"-artifact_prefix={folder}/"]
    os.chdir(Path(__file__).parents[2])
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda content: targets.run(name, content))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
