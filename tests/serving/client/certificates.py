"""Certificates for a test: an authority of its own, and what it signs, made by the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Signed:
    """A certificate with its key, PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates in ``folder``; its own is ``certificate``."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._own = self._path(name, "crt"), self._path(name, "key")
        self.certificate = self._own[0]
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-out", self._own[0], "-keyout", self._own[1]),
        )

    def sign(self, name: str, alternative: str, *, days: int = 2) -> Signed:
        """A certificate for ``alternative`` (``DNS:host`` or ``IP:address``); with days below 0 it has expired."""
        signed = Signed(self._path(name, "crt"), self._path(name, "key"))
        request, extension = self._path(name, "csr"), self._path(name, "ext")
        extension.write_text(f"subjectAltName={alternative}\n")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"),
            *("-out", request, "-keyout", signed.key),
        )
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self._own[0], "-CAkey", self._own[1], "-CAcreateserial"),
            *("-days", str(days), "-extfile", extension, "-out", signed.certificate),
        )
        return signed

    def _path(self, name: str, suffix: str) -> Path:
        return self._folder / f"{name}.{suffix}"


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
