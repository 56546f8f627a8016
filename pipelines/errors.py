"""What can be wrong with an image, a request, a model, a package or the service; no error knows a status code."""


class OcellaError(Exception):
    """Base of every error that a user can cause or must know of; its text is one line that stands alone.

    Attributes:
        request_id: of a call that a client made: under which the server's log holds it; else empty.
    """

    request_id = ""


class ImageDecodeError(OcellaError):
    """The bytes are not one whole image of an allowed format."""


class ImageTooLargeError(OcellaError):
    """The image has more bytes or pixels than the limit allows."""


class InvalidRequestError(OcellaError):
    """An option or field of a request is out of range or does not apply to the model."""


class UnknownModelError(OcellaError):
    """No model, or no version of it, of that name."""


class ModelNotReadyError(OcellaError):
    """The model is known but cannot answer now (loading, failed, unloaded)."""


class ModelRunError(OcellaError):
    """The graph failed while it ran, or answered another number of rows than it was given."""


class RunTerminatedError(ModelRunError):
    """A run was ended before its end because nobody waited for it any more; no fault of the model."""


class ModelOutputError(OcellaError):
    """The model answered NaN, infinity or the wrong shape."""


class NotAllowedError(OcellaError):
    """The operator has not allowed what was asked for; the text names the option that would."""


class UnauthenticatedError(OcellaError):
    """The caller did not say who it is, or not so that the server believes it."""


class NotOfferedError(OcellaError):
    """A protocol has it, this server does not; the text says why."""


class FaceRefusedError(OcellaError):
    """An image is not fit to enrol or compare a face by; the text says why: no face, several, too small, blurred."""


class UnknownPersonError(OcellaError):
    """Nobody of that name is enrolled in the gallery."""


class GalleryError(OcellaError):
    """A gallery cannot be used: it is damaged, another embedder's, or not calibrated; the text says what to do."""


class CalibrationError(OcellaError):
    """The data cannot tell a threshold for the false match rate asked for; the text says how much is needed."""


class DrainingError(OcellaError):
    """The server is stopping and takes no new work."""


class DeadlineExceededError(OcellaError):
    """The request's deadline passed before its answer was ready."""


class OverloadedError(OcellaError):
    """There is no room for the request; ``retry_after_s`` is the hint for the caller, ``reason`` one of a few words."""

    def __init__(self, message: str, *, retry_after_s: float, reason: str = "overloaded") -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.reason = reason


class ServiceUnavailableError(OcellaError):
    """A server could not be reached, or its connection broke."""


class FrameDroppedError(OcellaError):
    """A stream that drops what it cannot keep up with dropped this image for a newer one; no fault of the image."""


class ServerFaultError(OcellaError):
    """A server reported an internal error of its own; the text carries its request id."""


class MissingExtraError(OcellaError):
    """A part of Ocella was asked for whose optional dependencies are not installed."""


class DownloadError(OcellaError):
    """A pinned file could not be fetched, or what came is not what was pinned."""


class RecipeError(OcellaError):
    """A training, import or zoo recipe cannot be carried out as given."""


class PackageError(OcellaError):
    """A package folder cannot be used; subclasses say which check failed."""


class ManifestError(PackageError):
    """``manifest.json`` is missing, is not JSON, or has a bad key (the text names its path)."""


class ChecksumError(PackageError):
    """A file of the package is missing, added, or differs from its SHA-256."""


class SealError(PackageError):
    """The recipe (image, head, labels, inputs, outputs) was edited after the package was made."""


class GraphMismatchError(PackageError):
    """``model.onnx`` does not load, or its inputs and outputs are not those of the manifest."""


class ProviderError(PackageError):
    """An execution provider that was asked for is not the one that would run the graph."""


class GoldenMismatchError(PackageError):
    """The golden replay differs; ``step`` is ``pixels``, ``raw outputs`` or ``decoded result``."""

    def __init__(self, message: str, *, step: str) -> None:
        super().__init__(message)
        self.step = step
