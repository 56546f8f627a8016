"""Reading a Triton ``config.pbtxt``: what our schema knows as a message, the rest by its path, none of it lost."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor

from protos.oip.model_config_pb2 import ModelConfig


class ConfigTextError(ValueError):
    """The text is no configuration; the message says where."""


@dataclass(frozen=True)
class ConfigText:
    """A configuration.

    Attributes:
        config: the fields that the schema knows.
        unknown: the others, outermost first come first: dotted path and text of the value.
    """

    config: ModelConfig
    unknown: tuple[tuple[str, str], ...]


def parse_config(text: str) -> ConfigText:
    """Read the text form of a model configuration; raises ConfigTextError with line and column."""
    config = ModelConfig()
    try:
        text_format.Parse(text, config, allow_unknown_field=True)
        walk = _Walk(text)
        walk.message(ModelConfig.DESCRIPTOR, "", end=None)
    except text_format.ParseError as error:
        raise ConfigTextError(" ".join(str(error).split())) from error
    return ConfigText(config, tuple(walk.unknown))


class _Walk:
    """One pass over the tokens of a text that is known to be well formed, beside the descriptor of its message."""

    def __init__(self, text: str) -> None:
        self._tokens = text_format.Tokenizer(text.splitlines())
        self.unknown: list[tuple[str, str]] = []

    def message(self, descriptor: Descriptor | None, path: str, *, end: str | None) -> None:
        """Walk over the fields of a message; ``descriptor`` none: of one that the schema does not know."""
        while not self._tokens.AtEnd() and (end is None or not self._tokens.TryConsume(end)):
            name = self._name()
            self._tokens.TryConsume(":")
            here = f"{path}.{name}" if path else name
            field = None if descriptor is None else descriptor.fields_by_name.get(name)
            self._value(None if field is None else field.message_type, here, known=field is not None)
            for separator in (",", ";"):
                self._tokens.TryConsume(separator)

    def _name(self) -> str:
        """A field's name, or an extension's or ``Any``'s in brackets."""
        if not self._tokens.TryConsume("["):
            return str(self._tokens.ConsumeIdentifierOrNumber())
        parts = []
        while not self._tokens.TryConsume("]"):
            parts.append(self._tokens.token)
            self._tokens.NextToken()
        return f"[{''.join(parts)}]"

    def _value(self, message: Descriptor | None, path: str, *, known: bool) -> None:
        if self._tokens.TryConsume("["):
            while not self._tokens.TryConsume("]"):
                self._value(message, path, known=known)
                self._tokens.TryConsume(",")
            return
        for opening, closing in (("{", "}"), ("<", ">")):
            if self._tokens.TryConsume(opening):
                self.message(message if known else None, path, end=closing)
                return
        texts = []
        while True:  # strings that stand side by side are one.
            texts.append(self._tokens.token)
            self._tokens.NextToken()
            if texts[-1] == "-" or (texts[-1][:1] in "\"'" and self._tokens.token[:1] in ('"', "'")):
                continue
            break
        if not known:
            self.unknown.append((path, "".join(texts)))
