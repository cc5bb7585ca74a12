"""Every error of Atelier, in one tree; each has a stable code, and its docstring's first line is its message.

AtelierError
├── Refusal                    the caller can mend it
│   ├── MalformedRequest       invalid_request
│   ├── InvalidOptions         invalid_options
│   ├── MissingPart            missing_part
│   ├── PictureRefused
│   │   ├── PictureInvalid     image_invalid
│   │   ├── PictureUnsupported unsupported_media
│   │   ├── PictureAnimated    image_animated
│   │   ├── PictureTooHeavy    image_too_heavy
│   │   ├── PictureTooLarge    image_too_large
│   │   ├── PictureTooSmall    image_too_small
│   │   └── PictureTooNarrow   image_too_narrow
│   ├── NotFound               not_found
│   ├── InvalidState           invalid_state
│   ├── NotTerminal            not_terminal
│   ├── NotReady               not_ready
│   ├── DirectNotAvailable     direct_not_available
│   ├── WorkerTooOld           worker_too_old
│   ├── BackupRefused          backup_refused
│   ├── IdempotencyKeyInUse    idempotency_key_in_use
│   ├── IdempotencyKeyReused   idempotency_key_reused
│   ├── Unauthenticated        unauthenticated
│   ├── ScopeMissing           scope_missing
│   ├── CsrfMissing            csrf_missing
│   ├── TooManySignIns         too_many_sign_ins
│   ├── TokenNameTaken         token_name_taken
│   ├── CrossSiteRequest       cross_site_request
│   ├── UnknownHost            unknown_host
│   ├── RateLimited            rate_limited
│   ├── TooManyStreams         too_many_streams
│   ├── TooManyJobs            too_many_jobs
│   ├── TooManyDrafts          too_many_drafts
│   ├── TooManyBytes           too_many_bytes
│   ├── SizeNotAllowed         size_not_allowed
│   ├── PriorityNotAllowed     priority_not_allowed
│   ├── TooManyStars           too_many_stars
│   ├── WebhookRefused         webhook_refused
│   ├── WebhookSecretMissing   webhook_secret_missing
│   ├── TooManyWebhooks        too_many_webhooks
│   └── InsufficientMemory     insufficient_memory
├── ServiceError               the operator can mend it
│   ├── StorageUnavailable     storage_unavailable
│   ├── IdentityMissing        identity_missing
│   ├── IdentityWrong          identity_wrong
│   ├── FilesHeld              files_held
│   ├── BackupDamaged          backup_damaged
│   ├── RedisUnavailable       redis_unavailable
│   │   └── RedisTooOld        redis_too_old
│   ├── DatabaseUnavailable    database_unavailable
│   │   └── DatabaseUnusable   database_unusable
│   ├── StorageFull            storage_full
│   ├── UploadsUnavailable     uploads_unavailable
│   ├── GpuNotSeen             gpu_not_seen
│   └── InvalidSettings        invalid_settings
├── WeightsError
│   ├── WeightsUnavailable     weights_unavailable
│   ├── WeightsInvalid         weights_invalid
│   └── FastModelUnavailable   fast_model_unavailable
├── JobError                   a job ends with it
│   ├── ArtifactMissing        artifact_missing
│   ├── ArtifactCorrupt
│   │   └── FileDamaged        artifact_corrupt
│   ├── CheckpointInvalid      checkpoint_invalid
│   ├── LossNotFinite          loss_not_finite
│   ├── OutOfMemory            out_of_memory
│   ├── EngineFailed           engine_failed
│   ├── RunTimeout             timeout
│   ├── JobUnreadable          job_unreadable
│   ├── QueueDeadlinePassed    queue_deadline_passed
│   ├── WorkerLost             worker_lost
│   └── WorkerCrashLoop        worker_crash_loop
└── InternalError              never the caller's business
    ├── StaleJob               stale_job
    ├── LeaseLost              lease_lost
    ├── ArtifactExists         artifact_exists
    └── UnreadableMessage      unreadable_message
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar, NamedTuple, Self


@dataclass(frozen=True)
class Fault:
    """One fault inside a request: where, which, and why.

    Where is a JSON pointer: into the body, such as ``/options/steps``, to a part (``/content``), or to a
    parameter by its name (``/page_size``, ``/Idempotency-Key``). The whole body is the empty pointer.
    """

    pointer: str
    code: str
    detail: str

    def to_json(self) -> dict[str, str]:
        """Return the fault as one entry of a problem's ``errors`` list."""
        return asdict(self)


class Quota(NamedTuple):
    """A limit of a caller, and what is left of it.

    `most` is how many there may be at once, or with `window_seconds` in each span of so many seconds; after
    `seconds` it makes sense to look again.
    """

    name: str
    most: int
    left: int
    seconds: int
    window_seconds: int | None = None


class AtelierError(Exception):
    """Something went wrong in Atelier."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False
    suggestion: ClassVar[str | None] = None
    #: Whether callers are told the detail; that of a service's own failure may hold addresses.
    tells_detail: ClassVar[bool] = True

    def __init__(self, detail: str | None = None, *, faults: tuple[Fault, ...] = ()) -> None:
        # A path or a reply may hold bytes that are no text, and no report could be made of them.
        self.detail = (detail or self.title()).encode(errors="backslashreplace").decode()
        self.faults = faults
        super().__init__(self.detail)

    @classmethod
    def at(cls, pointer: str, detail: str, *, code: str = "invalid_value") -> Self:
        """Return the error of one fault: at this place of the request (see `Fault`), for this reason."""
        return cls(detail, faults=(Fault(pointer, code, detail),))

    @classmethod
    def title(cls) -> str:
        """Return the error's standing message: the first line of its docstring."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]

    def to_json(self) -> dict[str, object]:
        """Return the error as a job carries it: code, title, detail, retryable, suggestion."""
        return {
            "code": self.code,
            "title": self.title(),
            "detail": self.detail,
            "retryable": self.retryable,
            "suggestion": self.suggestion,
        }


class Refusal(AtelierError):
    """The request cannot be accepted as it is."""

    code = "refused"
    #: The limit that it meets, where waiting helps.
    quota: Quota | None = None

    def of(self, quota: Quota) -> Self:
        """Return the refusal, which tells of this limit."""
        self.quota = quota
        return self


class MalformedRequest(Refusal):
    """The request is not well formed."""

    code = "invalid_request"


class InvalidOptions(Refusal):
    """Some options are not valid."""

    code = "invalid_options"


class MissingPart(Refusal):
    """A part of the request is missing."""

    code = "missing_part"


class PictureRefused(Refusal):
    """The picture cannot be used."""

    code = "image_refused"


class PictureInvalid(PictureRefused):
    """The file is not a picture, or it is damaged."""

    code = "image_invalid"


class PictureUnsupported(PictureRefused):
    """What was sent is of a type that is not supported."""

    code = "unsupported_media"


class PictureAnimated(PictureRefused):
    """The picture has more than one frame."""

    code = "image_animated"


class PictureTooHeavy(PictureRefused):
    """The file has too many bytes."""

    code = "image_too_heavy"


class PictureTooLarge(PictureRefused):
    """The picture has too many pixels."""

    code = "image_too_large"


class PictureTooSmall(PictureRefused):
    """The picture has too few pixels."""

    code = "image_too_small"


class PictureTooNarrow(PictureRefused):
    """The picture would be too narrow at the working size."""

    code = "image_too_narrow"


class NotFound(Refusal):
    """There is nothing with this id, or at this address."""

    code = "not_found"


class InvalidState(Refusal):
    """The job's status does not allow this."""

    code = "invalid_state"


class NotTerminal(Refusal):
    """The job has not ended yet."""

    code = "not_terminal"


class NotReady(Refusal):
    """The job has not got this far yet."""

    code = "not_ready"
    retryable = True


class DirectNotAvailable(Refusal):
    """The storage has no address of its own for this file."""

    code = "direct_not_available"
    suggestion = "Ask without 'direct': the answer is then the file itself."


class WorkerTooOld(Refusal):
    """The worker's release does not understand this."""

    code = "worker_too_old"
    suggestion = "Stop it on its machine with SIGTERM, which does the same, and start a newer release."


class BackupRefused(Refusal):
    """A backup cannot be made or put back like this."""

    code = "backup_refused"


class IdempotencyKeyInUse(Refusal):
    """The first request with this idempotency key is still being answered."""

    code = "idempotency_key_in_use"
    retryable = True


class IdempotencyKeyReused(Refusal):
    """The idempotency key came with another request before."""

    code = "idempotency_key_reused"


class Unauthenticated(Refusal):
    """The request does not say who asks, and this service wants to know."""

    code = "unauthenticated"
    suggestion = (
        "Send the header 'Authorization: Bearer TOKEN' (the command line: ATELIER_TOKEN); whoever runs the "
        "service makes tokens with 'atelier token create'."
    )


class ScopeMissing(Refusal):
    """The token does not allow this."""

    code = "scope_missing"
    suggestion = "Ask whoever runs the service for a token with the scope that is named."


class CsrfMissing(Refusal):
    """The request does not show that it comes from a page of this service."""

    code = "csrf_missing"
    suggestion = "Load the page again, and send it once more."


class TooManySignIns(Refusal):
    """Too many tokens that are none were tried from this address."""

    code = "too_many_sign_ins"
    suggestion = "Wait a minute. 'atelier token list' on the web host names the tokens that there are."


class TokenNameTaken(Refusal):
    """There is a token of this name already."""

    code = "token_name_taken"
    suggestion = "Choose another name, or revoke that token first: 'atelier token list' shows all."


class CrossSiteRequest(Refusal):
    """A page of another site may not change anything here."""

    code = "cross_site_request"


class UnknownHost(Refusal):
    """The service is not asked for by its own name."""

    code = "unknown_host"
    suggestion = "Add the name to ATELIER_ALLOWED_HOSTS if people are to use it."


class RateLimited(Refusal):
    """Too many requests were sent within a minute."""

    code = "rate_limited"
    retryable = True
    suggestion = (
        "Wait as long as Retry-After says. Wait for a job with 'Prefer: wait=30', or watch its events."
    )


class TooManyStreams(Refusal):
    """Too many event streams are open; poll the job instead, or try again later."""

    code = "too_many_streams"
    retryable = True


class TooManyJobs(Refusal):
    """Too many jobs are queued or running; try again when one has ended."""

    code = "too_many_jobs"
    retryable = True


class TooManyDrafts(Refusal):
    """Too many drafts are under way; try again when one has ended."""

    code = "too_many_drafts"
    retryable = True


class TooManyBytes(Refusal):
    """Too many bytes would be stored."""

    code = "too_many_bytes"
    suggestion = (
        "Delete jobs that you no longer need, and take the star off pictures: a picture that no job uses and "
        "no star keeps is removed some hours later."
    )


class SizeNotAllowed(Refusal):
    """The size is larger than this service allows."""

    code = "size_not_allowed"


class PriorityNotAllowed(Refusal):
    """The priority is higher than this service allows."""

    code = "priority_not_allowed"


class InsufficientMemory(Refusal):
    """No worker that is connected has the memory for this job."""

    code = "insufficient_memory"
    suggestion = "Submit it with a smaller size, or start a worker on a machine with more memory."


class TooManyStars(Refusal):
    """Too many pictures are starred."""

    code = "too_many_stars"
    suggestion = "Take the star off one that you no longer need; 'atelier asset list --starred' names them."


class WebhookRefused(Refusal):
    """The address is none that a webhook may go to."""

    code = "webhook_refused"
    suggestion = "Give an https address of a public machine, or ask the operator to allow the network."


class WebhookSecretMissing(Refusal):
    """There is no secret that the messages could be signed with."""

    code = "webhook_secret_missing"
    suggestion = "Make the webhook 'default' first: PUT /webhooks/default; it needs no address."


class TooManyWebhooks(Refusal):
    """There are too many webhooks."""

    code = "too_many_webhooks"
    suggestion = "Delete one that is no longer needed."


class ServiceError(AtelierError):
    """A part of the service is not working."""

    code = "service_unavailable"
    retryable = True
    tells_detail = False


class StorageUnavailable(ServiceError):
    """The storage cannot be read or written."""

    code = "storage_unavailable"
    suggestion = "Check that the storage folder or bucket exists, is writable and has space left."


class IdentityMissing(ServiceError):
    """The storage carries no identity of an installation: it is not mounted, or it is empty."""

    code = "identity_missing"
    suggestion = "Mount the storage that web and control have, or check ATELIER_STORAGE_URL."


class IdentityWrong(ServiceError):
    """The storage belongs to another installation."""

    code = "identity_wrong"
    retryable = False
    suggestion = "Check ATELIER_STORAGE_URL and ATELIER_DATABASE_URL: both must be of one installation."


class FilesHeld(ServiceError):
    """A backup is being made, or was a moment ago: nothing is removed meanwhile."""

    code = "files_held"
    suggestion = "Try again five minutes after it has ended."


class BackupDamaged(ServiceError):
    """The backup is not what was written."""

    code = "backup_damaged"
    retryable = False
    suggestion = (
        "Take another backup; 'atelier backup --check DIR' says whether one is whole. To mend this one, "
        "remove the files that are named as damaged, and make a backup into the same folder."
    )


class RedisUnavailable(ServiceError):
    """Redis does not answer."""

    code = "redis_unavailable"
    suggestion = "Check ATELIER_REDIS_URL and that the server is running."


class RedisTooOld(RedisUnavailable):
    """Redis is of a release that is too old."""

    code = "redis_too_old"
    retryable = False
    suggestion = "Name another server with ATELIER_REDIS_URL, or put a younger release in its place."


class DatabaseUnavailable(ServiceError):
    """The database does not answer."""

    code = "database_unavailable"
    suggestion = "Check ATELIER_DATABASE_URL."


class DatabaseUnusable(DatabaseUnavailable):
    """The database is damaged, or is none of this service and release."""

    code = "database_unusable"
    retryable = False
    suggestion = (
        "Check ATELIER_DATABASE_URL and ATELIER_DATA_DIR; if the file is damaged, put a backup back as "
        "docs/operations.md says."
    )


class StorageFull(ServiceError):
    """There is too little room left on the disk to take this in."""

    code = "storage_full"
    tells_detail = True
    suggestion = "Make room, with 'atelier prune' for instance, or allow less: ATELIER_MIN_FREE_BYTES."


class UploadsUnavailable(ServiceError):
    """Uploads cannot be received at the moment."""

    code = "uploads_unavailable"
    tells_detail = True
    suggestion = "Make room in the folder for temporary files, or name another one in TMPDIR; then try again."


class InvalidSettings(ServiceError):
    """A setting is not valid."""

    code = "invalid_settings"
    retryable = False


class GpuNotSeen(ServiceError):
    """TensorFlow does not see the GPU that this node is to use."""

    code = "gpu_not_seen"
    suggestion = "Type 'atelier-worker check' on this machine: it names the library that is missing."


class WeightsError(AtelierError):
    """The weights of a network cannot be used."""

    code = "weights_error"


class WeightsUnavailable(WeightsError):
    """The VGG19 weights cannot be had."""

    code = "weights_unavailable"
    suggestion = (
        "Put the file that Keras publishes at the path named above, or set ATELIER_VGG19_WEIGHTS to the path "
        "of such a file, or to 'untrained' to work without any download."
    )


class WeightsInvalid(WeightsError):
    """The file does not hold the weights of a VGG19 network."""

    code = "weights_invalid"


class FastModelUnavailable(WeightsError):
    """The model of the fast method cannot be had."""

    code = "fast_model_unavailable"
    suggestion = (
        "On the worker's machine, in the environment of Atelier, type 'pip install --require-hashes -r "
        "requirements/fast.txt' (in a checkout: 'make setup'), or set ATELIER_FAST_MODEL to the path of a "
        "SavedModel of Magenta's arbitrary stylisation; docs/fast.md says more. The method gatys needs none."
    )


class JobError(AtelierError):
    """The job could not be carried out."""

    code = "job_error"


class ArtifactMissing(JobError):
    """A stored file is missing."""

    code = "artifact_missing"


class ArtifactCorrupt(JobError):
    """A stored file is not what was written."""

    code = "artifact_corrupt"


class FileDamaged(ArtifactCorrupt):
    """A stored file is not what was written.

    It is damaged or cut off.
    """

    code = "artifact_corrupt"


class CheckpointInvalid(JobError):
    """The checkpoint cannot be resumed from."""

    code = "checkpoint_invalid"


class LossNotFinite(JobError):
    """The optimisation diverged: a loss is no longer a finite number."""

    code = "loss_not_finite"
    suggestion = (
        "Submit it again, or fork it where it was still well, with a lower learning rate, or with a lower "
        "content weight or style weight, whichever is larger."
    )


class OutOfMemory(JobError):
    """The device has not enough memory for this working size."""

    code = "out_of_memory"
    suggestion = "Submit it again with a smaller size."


class EngineFailed(JobError):
    """The engine failed."""

    code = "engine_failed"
    retryable = True


class RunTimeout(JobError):
    """The job ran longer than it was allowed to."""

    code = "timeout"
    suggestion = "Retry it, which goes on from its checkpoint, or submit or fork it with more time to run."


class JobUnreadable(JobError):
    """What is stored of the job cannot be read."""

    code = "job_unreadable"
    suggestion = "Submit it again, and look at the log of control."


class QueueDeadlinePassed(JobError):
    """No worker was free before the job's queue deadline."""

    code = "queue_deadline_passed"
    retryable = True


class WorkerLost(JobError):
    """The worker was lost, and no attempts are left."""

    code = "worker_lost"
    retryable = True


class WorkerCrashLoop(JobError):
    """The job crashed its worker again and again."""

    code = "worker_crash_loop"
    suggestion = "Look at the worker's log; submitted again with a smaller size, it needs less memory."


class InternalError(AtelierError):
    """Something went wrong in Atelier.

    A process has to stop what it is doing.
    """

    code = "internal_error"


class StaleJob(InternalError):
    """The job is no longer in the state that this change starts from."""

    code = "stale_job"


class LeaseLost(InternalError):
    """The lease on the job was lost to another worker."""

    code = "lease_lost"


class ArtifactExists(InternalError):
    """A file with this key is already there."""

    code = "artifact_exists"


class UnreadableMessage(InternalError):
    """A message cannot be read by this version."""

    code = "unreadable_message"
