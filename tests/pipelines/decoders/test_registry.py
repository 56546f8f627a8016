"""The table of decoders covers every decoder that a manifest can name."""

from typing import get_args

from pipelines.decoders import DECODERS
from pipelines.specs import Decoder


def test_every_decoder_of_the_manifest_is_in_the_table() -> None:
    union = get_args(Decoder)[0]
    kinds = {get_args(spec.model_fields["kind"].annotation)[0] for spec in get_args(union)}
    assert set(DECODERS) == kinds
