"""The service's errors: code, HTTP status and the message that goes with it, as documented."""

from __future__ import annotations

CODES: dict[str, tuple[int, str]] = {
    "AuthenticationFailed": (
        403,
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly "
        "including the signature.",
    ),
    "ActiveJobAndScheduleQuotaReached": (409, "Active job and schedule quota for the account has been reached."),
    "AutoScalingFormulaSyntaxError": (400, "The specified autoscaling formula has a syntax error."),
    "AutoScalingFormulaTooLong": (400, "The specified autoscaling formula exceeds the length limit."),
    "ConditionNotMet": (412, "The condition specified in the conditional header(s) was not met for a write operation."),
    "FileNotFound": (404, "The specified file does not exist."),
    "InternalError": (500, "The server encountered an internal error. Please retry the request."),
    "InvalidAutoScalingSettings": (400, "The specified autoscaling settings are not valid."),
    "InvalidHeaderValue": (400, "The value provided for one of the HTTP headers was not in the correct format."),
    "InvalidPropertyValue": (400, "The value provided for one of the properties in the request body is invalid."),
    "InvalidQueryParameterValue": (400, "Value for one of the query parameters specified in the request URI is invalid."),
    "InvalidRange": (416, "The range specified is invalid for the current size of the resource."),
    "InvalidRequestBody": (400, "The specified Request Body is not syntactically valid."),
    "InvalidUri": (400, "The requested URI does not represent any resource on the server."),
    "JobBeingDeleted": (409, "The specified job has been marked for deletion and is being garbage collected."),
    "JobBeingTerminated": (409, "The specified job is being terminated."),
    "JobCompleted": (409, "The specified job is already in a completed state."),
    "JobDisabled": (409, "The specified job is disabled."),
    "JobExists": (409, "The specified job already exists."),
    "JobNotActive": (409, "The specified job is not in active state."),
    "JobNotFound": (404, "The specified job does not exist."),
    "MissingRequiredProperty": (400, "A required property was not specified in the request body."),
    "NodeAlreadyInTargetSchedulingState": (409, "The specified node is already in the target scheduling state."),
    "NodeNotFound": (404, "The specified node does not exist."),
    "OperationInvalidForCurrentState": (409, "The specified operation is not valid for the current state of the resource."),
    "OutOfRangeInput": (400, "One of the request inputs is out of range."),
    "OutOfRangeQueryParameterValue": (
        400,
        "A query parameter specified in the request URI is outside the permissible range.",
    ),
    "PoolBeingDeleted": (409, "The specified pool has been marked for deletion and is being reclaimed."),
    "PoolBeingResized": (409, "The specified pool is being resized."),
    "PoolExists": (409, "The specified pool already exists."),
    "PoolNotFound": (404, "The specified pool does not exist."),
    "PoolQuotaReached": (409, "Pool quota for the account has been reached."),
    "RequestBodyTooLarge": (413, "The request body is too large and exceeds the maximum permissible limit."),
    "ServerBusy": (503, "The server is currently unable to receive requests. Please retry your request."),
    "TaskCompleted": (409, "The specified task is already in a completed state."),
    "TaskDependenciesNotSpecifiedOnJob": (
        400,
        "A task was specified as depending on other tasks, but the job did not specify that it would use task dependencies.",
    ),
    "TaskExists": (409, "The specified task already exists."),
    "TaskFilesCleanedup": (409, "The files of the specified task are cleaned up."),
    "TaskFilesUnavailable": (409, "The files of the specified task are unavailable."),
    "TaskNotCompleted": (
        409,
        "The specified task is not in a completed state, and the requested operation can be performed only on completed "
        "tasks.",
    ),
    "TaskNotFound": (404, "The specified task does not exist."),
    "TaskSucceeded": (
        409,
        "The specified task has already completed successfully, and the requested operation cannot be performed on "
        "successful tasks.",
    ),
    "TooManyEnableAutoScaleRequests": (503, "Too many Enable Pool AutoScale requests are issued on the pool."),
    "TooManyRequests": (429, "Too many requests. Please retry your request later."),
    "UnsupportedHttpVerb": (405, "The resource doesn't support the specified HTTP verb."),
    "UnsupportedRequestVersion": (400, "The specified request version is not supported."),
}


class ServiceError(Exception):
    """Becomes the answer to a request. `values` are the details that the service adds, by name."""

    def __init__(self, code: str, **values: str) -> None:
        super().__init__(f"{code} {values}" if values else code)
        self.code = code
        self.status, self.message = CODES[code]
        self.values = values


def invalid(name: str, value: object, reason: str) -> ServiceError:
    """The answer to a property with an impossible value."""
    return ServiceError("InvalidPropertyValue", PropertyName=name, PropertyValue=str(value), Reason=reason)
