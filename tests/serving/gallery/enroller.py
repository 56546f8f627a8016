"""Enrols people for ever and prints each name once it is acknowledged: ``python -m ... FOLDER PREFIX [COUNT]``."""

import sys
from itertools import count
from pathlib import Path

from serving.gallery.store import Store
from tests.serving.gallery.conftest import BINDING, samples

if __name__ == "__main__":
    folder, prefix, *most = sys.argv[1:]
    with Store(Path(folder), BINDING) as store:
        for number in range(int(most[0])) if most else count():
            name = f"{prefix}-{number}"
            store.enroll(name, samples(2, seed=number, crop=b"crop" * 500))
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()
