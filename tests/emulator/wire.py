"""HTTP: one request after the other through authentication, faults, contract, operation, contract."""

from __future__ import annotations

import json
import time
import traceback
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from math import ceil
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from tests.emulator import rest_files, rest_jobs, rest_pools  # noqa: F401  they register the operations
from tests.emulator.account import Document
from tests.emulator.errors import ServiceError
from tests.emulator.faults import Fault
from tests.emulator.rest import Answer, Operation, Request, resolve
from tests.emulator.signing import check_shared_key

if TYPE_CHECKING:
    from tests.emulator.server import Emulator

JSON = "application/json; odata=minimalmetadata"


class Dropped(Exception):
    """The client gets no answer."""


class Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Microsoft-HTTPAPI/2.0"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 120

    @property
    def emulator(self) -> Emulator:
        found: Emulator = self.server.emulator  # type: ignore[attr-defined]
        return found

    def setup(self) -> None:
        super().setup()
        with self.emulator.clock.lock:
            self.emulator.connections.add(self.connection)

    def finish(self) -> None:
        with self.emulator.clock.lock:
            self.emulator.connections.discard(self.connection)
        super().finish()

    def _serve(self) -> None:
        emulator, parts = self.emulator, urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        name = "unknown"
        try:
            operation, names = resolve(self.command, parts.path)
            name = operation.name
            with emulator.clock.lock:
                emulator.calls[name] += 1
            fault = emulator.faults.strike(name)
            if fault:
                self._suffer(fault)
            answer = self._answer(operation, names, content)
            if fault and fault.drop == "after":
                raise Dropped
        except ServiceError as error:
            answer = Answer(self._problem(error.code, error.message, error.values), status=error.status)
            for contract in emulator.contracts:
                emulator.violations.extend(contract.check_error(answer.body or {}, name))
        except _Injected as injected:
            answer = injected.answer
        except Dropped:
            self._count(name, 0)
            self.close_connection = True
            self.connection.close()
            return
        except Exception as error:  # a mistake of the emulator's own is found like anybody's
            emulator.violations.append(f"emulator {name}: {error!r}\n{traceback.format_exc()}")
            answer = Answer(self._problem("InternalError", "The emulator made a mistake.", {}), status=500)
        self._count(name, answer.status or 200)
        self._send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _count(self, name: str, status: int) -> None:
        with self.emulator.clock.lock:
            self.emulator.answers[name, status] += 1

    def _suffer(self, fault: Fault) -> None:
        if fault.delay:
            time.sleep(fault.delay)
        if fault.drop == "before":
            raise Dropped
        if fault.status:
            body = self._problem(fault.code, f"Injected: {fault.code}", {})
            headers = {} if fault.retry_after is None else {"Retry-After": str(ceil(fault.retry_after))}
            raise _Injected(Answer(body, headers=headers, status=fault.status))

    def _answer(self, operation: Operation, names: Mapping[str, str], content: bytes) -> Answer:
        emulator, parts = self.emulator, urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self._authenticate(parts.path, parts.query, headers)
        if len(content) > emulator.script.body_limit:
            raise ServiceError("RequestBodyTooLarge", MaxLimit=str(emulator.script.body_limit))
        body: Document = {}
        if content:
            try:
                body = json.loads(content)
            except ValueError:
                raise ServiceError("InvalidRequestBody") from None
            if not isinstance(body, dict):
                raise ServiceError("InvalidRequestBody")
        sent = body if content else None
        found = [
            wrong for contract in emulator.contracts for wrong in contract.check_request(operation, query, headers, sent)
        ]
        if found:
            emulator.violations.extend(found)
            raise ServiceError("InvalidRequestBody", Reason="; ".join(found))
        with emulator.clock.lock:
            emulator.clock.catch_up()
            answer = operation.answer(Request(emulator.account, query, headers, body, names))
        answer.status = answer.status or operation.status
        for contract in emulator.contracts:
            emulator.violations.extend(contract.check_response(operation, answer, query))
        return answer

    def _authenticate(self, path: str, query: str, headers: Mapping[str, str]) -> None:
        emulator = self.emulator
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and emulator.tls:
            if not emulator.accept_token(token):
                body = self._problem("AuthenticationFailed", "The token has expired or is not valid.", {})
                challenge = 'Bearer authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"'
                raise _Injected(Answer(body, headers={"WWW-Authenticate": challenge}, status=401))
            return
        if not emulator.shared_key:
            detail = "Shared key authentication is not allowed for this account"
            raise ServiceError("AuthenticationFailed", AuthenticationErrorDetail=detail)
        account = emulator.account
        check_shared_key(self.command, path, query, headers, account.name, account.key, emulator.skew)

    def _problem(self, code: str, message: str, values: Mapping[str, str]) -> Document:
        moment = self.emulator.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        shown: Document = {
            "odata.metadata": f"{self.emulator.url}/$metadata#errors/@Element",
            "code": code,
            "message": {"lang": "en-US", "value": f"{message}\nRequestId:{uuid.uuid4()}\nTime:{moment}"},
        }
        if values:
            shown["values"] = [{"key": name, "value": value} for name, value in values.items()]
        return shown

    def _send(self, answer: Answer) -> None:
        content = answer.content or b""
        headers = dict(answer.headers)
        if answer.body is not None:
            content = json.dumps(answer.body).encode()
            headers["Content-Type"] = "application/json;odata=minimalmetadata"
        self.send_response(answer.status or 200)
        if self.headers.get("return-client-request-id") == "true":
            headers["client-request-id"] = self.headers.get("client-request-id", "")
        headers["request-id"] = str(uuid.uuid4())
        headers["DataServiceVersion"] = "3.0"
        if answer.status != 204:
            headers.setdefault("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header tells virtual time."""
        return super().date_time_string(self.emulator.clock.now().timestamp() + self.emulator.skew)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: a test asserts, a demo has its own screen."""


class _Injected(Exception):
    """An answer that no operation gave."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer
