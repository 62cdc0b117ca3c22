"""Every error that raysys raises on purpose.

    RaysysError
    ├── ConfigError               a setting, an argument or a config file is wrong
    ├── SourceError               a file or table to be read is missing or is not what it claims
    │   ├── NothingUsableError    every row of an import was unusable
    │   └── SchemaError           a schema breaks the rules, or a source does not follow it
    ├── DatasetError              a dataset directory is absent, incomplete or damaged
    ├── UnknownIdError            an id that the vocabulary does not hold
    ├── ReleaseError              a release cannot be used
    │   ├── ReleaseNotFoundError  nothing is published under that path
    │   ├── DamagedReleaseError   a file of the release differs from what was published
    │   └── ReleaseMismatchError  parts of the release were not built together
    ├── ClusterError              the Ray cluster cannot be reached, or not with this token
    ├── TrainingError             a model could not be trained
    ├── StateError                the database cannot be used
    │   ├── StateUnavailableError for now: the same call may succeed later
    │   └── LeaseLostError        another process does by now what this one did
    ├── ServingError              the server cannot be started as asked
    └── RequestError              a client's request is answered with an error of the wire format
        ├── InvalidInputError         400
        ├── AuthenticationError       403
        │   ├── MissingAuthenticationError  no key was shown
        │   ├── IncompleteSignatureError    400: what was shown cannot be read
        │   ├── UnrecognizedClientError     nobody has that key
        │   ├── InvalidSignatureError       the signature is not that of the request, or not of now
        │   └── ExpiredKeyError             the key was good once
        ├── AccessDeniedError         403
        ├── ResourceNotFoundError     404
        ├── UnknownOperationError     404
        ├── MethodNotAllowedError     405
        ├── RequestTimeoutError       408
        ├── RequestTooLargeError      413
        ├── TooManyRequestsError      429
        └── UnavailableError          503

All arguments of an error go to `super().__init__`, so that it survives pickling between Ray
processes; one test pickles every class. A message says what was asked, what was found, why it
matters and what to do.
"""


class RaysysError(Exception):
    """The root of the tree; `str(error)` is fit to be shown to a user as it is."""


class ConfigError(RaysysError):
    """A setting, an argument or a config file is wrong."""


class SourceError(RaysysError):
    """A file or table to be read is missing or is not what it claims to be."""


class NothingUsableError(SourceError):
    """Every row of an import was unusable, so there is nothing to write."""


class SchemaError(SourceError):
    """A schema breaks the rules for schemas, or the columns of a source do not follow it."""


class DatasetError(RaysysError):
    """A dataset directory is absent, incomplete or damaged."""


class UnknownIdError(RaysysError):
    """An id was asked for that the vocabulary does not hold."""


class ReleaseError(RaysysError):
    """A release cannot be used."""


class ReleaseNotFoundError(ReleaseError):
    """Nothing is published under that path."""


class DamagedReleaseError(ReleaseError):
    """A file of the release is missing or differs from what was published."""


class ReleaseMismatchError(ReleaseError):
    """Parts of the release were not built together."""


class ClusterError(RaysysError):
    """The Ray cluster cannot be reached, or not with this token."""


class TrainingError(RaysysError):
    """A model could not be trained."""


class StateError(RaysysError):
    """The database cannot be used."""


class StateUnavailableError(StateError):
    """The database cannot be reached or is locked for now; the same call may succeed later."""


class LeaseLostError(StateError):
    """Another process does by now what this one began to do."""


class ServingError(RaysysError):
    """The server cannot be started as asked."""


class RequestError(RaysysError):
    """A client's request is answered with an error of the wire format.

    `status` is the HTTP status, `code` the name that AWS SDKs turn into an exception class
    (header `x-amzn-errortype`). 500 has no class here: it would be a bug, not a request.
    """

    status = 400
    code = "InvalidInputException"
    retry_after_s: int | None = None
    """After how long the same request may succeed; None: not by waiting."""
    ends_connection = False
    """Whether nothing that may still come on the connection is read."""


class InvalidInputError(RequestError):
    """The request is malformed or a member is outside its bounds."""


class AuthenticationError(RequestError):
    """Nobody knows who asks; the codes are those that AWS SDKs know."""

    status = 403
    code = "UnrecognizedClientException"


class MissingAuthenticationError(AuthenticationError):
    """The request has no Authorization header."""

    code = "MissingAuthenticationTokenException"


class IncompleteSignatureError(AuthenticationError):
    """The Authorization header, or what belongs to it, does not have the form that it must have."""

    status = 400
    code = "IncompleteSignatureException"


class UnrecognizedClientError(AuthenticationError):
    """There is no such key or token, or it was revoked."""


class InvalidSignatureError(AuthenticationError):
    """The signature is not that of this request by this key, or its time is not now."""

    code = "InvalidSignatureException"


class ExpiredKeyError(AuthenticationError):
    """The key or token was made for a time that is over."""

    code = "ExpiredTokenException"


class AccessDeniedError(RequestError):
    """The key is good, but not for this."""

    status = 403
    code = "AccessDeniedException"


class ResourceNotFoundError(RequestError):
    """The campaign, filter or other resource that the request names does not exist."""

    status = 404
    code = "ResourceNotFoundException"


class UnknownOperationError(RequestError):
    """The path does not exist; AWS SDKs call many that raysys does not have."""

    status = 404
    code = "UnknownOperationException"


class MethodNotAllowedError(RequestError):
    """The path exists, the HTTP method on it does not."""

    status = 405
    code = "MethodNotAllowedException"


class RequestTimeoutError(RequestError):
    """The client took too long to send its request."""

    status = 408
    code = "RequestTimeoutException"
    ends_connection = True


class RequestTooLargeError(RequestError):
    """The body is larger than the server reads."""

    status = 413
    code = "RequestTooLargeException"


class TooManyRequestsError(RequestError):
    """The queue is full; SDKs retry this by themselves."""

    status = 429
    code = "ThrottlingException"
    retry_after_s = 1


class UnavailableError(RequestError):
    """A part that the request needs is away; nothing of the request was kept."""

    status = 503
    code = "ServiceUnavailableException"
    retry_after_s = 1
