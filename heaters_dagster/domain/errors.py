"""One error family. A message names the file or row, the reason and the remedy; it is shown to people as it stands."""

from __future__ import annotations

from datetime import datetime

from heaters_dagster.domain.secrets import without_access


class HeatersError(Exception):
    """Any failure that Heaters reports on purpose. Never caught and ignored, never shown as a traceback.

    Messages go into rows, logs and pages, so they never hold what gives access (a password in an address, a key in its query).
    """

    def __init__(self, *told: object) -> None:
        super().__init__(*(without_access(one) if isinstance(one, str) else one for one in told))


class PermanentError(HeatersError):
    """Trying again without a change will fail again: bad input, wrong settings, an illegal request."""


class TransientError(HeatersError):
    """Trying again later may work: a busy disk, a lost connection, a killed child process."""


class InvalidMediaError(PermanentError, ValueError):
    """The file is no usable video: not media, empty, without a video stream, or no frame of it decodes."""


class SourceNotFoundError(PermanentError, FileNotFoundError):
    """The path, address or object that was submitted does not exist or cannot be read."""


class DuplicateSourceError(PermanentError):
    """Another source video holds the same bytes."""


class ForbiddenSourceError(PermanentError, PermissionError):
    """The address or path may not be fetched: internal host, `file:` scheme, outside the allowed folders."""


class SettingsError(PermanentError, ValueError):
    """An environment variable holds a value that cannot be used."""


class StoreRefusedError(SettingsError):
    """The object store refuses: there is no such bucket, it does not accept the credentials, or a right is missing."""


class IllegalTransitionError(PermanentError, ValueError):
    """One state cannot follow another; the message lists those that can."""


class CutError(PermanentError, ValueError):
    """A cut point operation outside its legal range; the message gives the range."""


class BadRequestError(PermanentError, ValueError):
    """A value that somebody typed or a browser sent cannot be used; the message says what can."""


class UnknownNameError(SettingsError, BadRequestError):
    """A name, in a setting or typed, that no entry of its registry has; the message lists those there are."""


class StaleClipError(PermanentError):
    """Somebody changed the clip since it was read; the fresh clip is needed before deciding again."""


class VerdictStandsError(PermanentError):
    """A decision would change the verdict on a clip that the reviewer did not name.

    clip_id: that clip. verdict: "skipped" or "archived". by: who changed the clip last, None where that is not known.
    """

    def __init__(self, clip_id: int, verdict: str, by: str | None = None) -> None:
        who = f" by {by}" if by else ""
        super().__init__(
            f"clip id:{clip_id} was {verdict}{who}; a group would approve it. "
            f"Approve clip id:{clip_id} first if the two belong together: a group never changes another verdict"
        )
        self.clip_id = clip_id
        self.verdict = verdict
        self.by = by


class NothingToUndoError(PermanentError):
    """The reviewer has no action that can be undone (or redone)."""


class NotFoundError(PermanentError, LookupError):
    """No such source video, clip, reviewer or artifact."""


class ObjectNotFoundError(PermanentError, LookupError):
    """No object under that key."""


class ColdStorageError(PermanentError):
    """The object is in cold storage and must be restored first; the message says how."""


class InvalidKeyError(PermanentError, ValueError):
    """An object key that leaves the store or does not have the form of a key."""


class EmbeddingError(PermanentError):
    """No embedding could be made: the frames carry no signal, or the model cannot be used on them."""


class ModelUnavailableError(PermanentError):
    """The embedding or detector model is not available on this machine (no network, no cached copy)."""


class DiskFullError(TransientError, OSError):
    """No room left where the file is written."""


class ProcessKilledError(TransientError):
    """A child process (ffmpeg) was ended by a signal, not by its own decision."""


class LowMemoryError(TransientError, MemoryError):
    """The machine, or a limit set on the process, has too little memory for a stage."""


class FfmpegError(PermanentError):
    """ffmpeg refused. The message is a sentence; ffmpeg's own lines are in the run's log."""


class DatabaseUnavailableError(TransientError, ConnectionError):
    """Postgres does not answer."""


class StoreUnavailableError(TransientError, ConnectionError):
    """The object store does not answer, or answers that it has a problem. bucket: which one; None for a folder."""

    def __init__(self, told: str, *, bucket: str | None = None) -> None:
        super().__init__(told)
        self.bucket = bucket


class PlaceError(TransientError):
    """The object store cannot be used now. No row is at fault and none counts a try: all work is due again when the store works."""


class NoRoomError(PlaceError):
    """The disk has too little room for a stage now. The stage waits; no try is counted.

    bytes_needed: for the whole stage. bytes_free: what it could have had, without what other work was promised.
    """

    def __init__(self, told: str, *, bytes_needed: int, bytes_free: int) -> None:
        super().__init__(told)
        self.bytes_needed = bytes_needed
        self.bytes_free = bytes_free


class DownloadError(TransientError):
    """A download broke off for a temporary reason: time-out, 5xx, connection reset."""


class SiteRefusesError(DownloadError):
    """A site wants no requests for a while: that is no failed try.

    reason: what it answers, in words that hold for all its videos. until: when it wants the next request, None when it does not say.
    """

    def __init__(self, told: str, *, reason: str, until: datetime | None = None) -> None:
        super().__init__(told)
        self.reason = reason
        self.until = until


class NotYetError(TransientError):
    """The work cannot be done now, and that is no failure: it is due again by itself, and no failed try is counted."""


class BusyError(TransientError):
    """Another process is working on the same source video and stage."""


class RunTakenAwayError(BusyError):
    """The lease of the run was lost, so the work belongs to another process: this one stops, and writes nothing more."""
