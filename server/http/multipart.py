"""Read a multipart form whose file goes piece by piece to where it is kept, never whole into memory."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from server.errors import MISSING_FIELD, ApiError

MAX_FIELD_BYTES = 64 * 1024  # of all fields and heads of parts together, without the file
MAX_OTHER_BYTES = 2 * MAX_FIELD_BYTES  # of the whole body without the file
STEP = 2**20  # bytes of the body for which a client has the time of a small body


@dataclass
class Form:
    """The fields of a form, and how its file was called."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None  # None if there is no file
    content_type: str | None = None


async def read_form(
    request: Request, file_field: str, write: Callable[[bytes], Awaitable[None]], seconds: float
) -> Form:
    """Return the fields of a form, and pass the content of its file to `write` while it arrives.

    Args:
        request: the request, whose body nobody has read.
        file_field: the name of the field that holds the file.
        write: gets the pieces of the content in their order.
        seconds: the time for each MiB of the body.

    Raises:
        ApiError: the body is no such form, has no file, or comes too slowly; and what `write` raises.
    """
    reader = _FormReader(request, file_field)
    received = of_file = 0
    try:
        async with asyncio.timeout(seconds) as limit:
            async for piece in request.stream():
                for content in reader.parse(piece):
                    await write(content)
                    of_file += len(content)
                if (received + len(piece)) // STEP > received // STEP:
                    limit.reschedule(asyncio.get_running_loop().time() + seconds)
                received += len(piece)
                if received - of_file > MAX_OTHER_BYTES:  # also in front of the form and behind it
                    raise _too_many_fields()
    except TimeoutError:
        raise ApiError(
            f"A MiB of the body did not arrive within {seconds:g} seconds. Send the file in parts, by "
            "/v1/uploads.",
            status=408,
            code="body_timeout",
        ) from None
    return reader.form()


class _FormReader:
    """Collects what python-multipart's parser finds in a body."""

    def __init__(self, request: Request, file_field: str) -> None:
        kind, options = parse_options_header(request.headers.get("content-type"))
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise ApiError(
                "Send the file as a form with the content type multipart/form-data.",
                status=415,
                code="unsupported_content_type",
            )
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise ApiError(
                "Compressed bodies are not accepted. Send the body uncompressed.",
                status=415,
                code="unsupported_content_encoding",
            )
        self._file_field = file_field
        self._form = Form()
        self._is_complete = False
        self._small_bytes = 0
        self._header = (bytearray(), bytearray())  # name and value
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._value: bytearray | None = None  # of a field; None inside of the file
        self._pieces: list[bytes] = []  # of the file, since the last call of `parse`
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except MultipartParseError:
            raise _invalid() from None

    def parse(self, piece: bytes) -> list[bytes]:
        """Read on, and return the pieces of the file's content."""
        try:
            self._parser.write(piece)
        except (MultipartParseError, UnicodeDecodeError):
            raise _invalid() from None
        pieces, self._pieces = self._pieces, []
        return pieces

    def form(self) -> Form:
        """Return the form after its end."""
        if not self._is_complete:
            raise _invalid()
        if self._form.filename is None:
            raise ApiError(
                f"{self._file_field}: the form has no file in this field.",
                param=self._file_field,
                code=MISSING_FIELD,
            )
        return self._form

    def _begin_part(self) -> None:
        self._headers = {}
        self._header = (bytearray(), bytearray())

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(self._small(data[start:end]))

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(self._small(data[start:end]))

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = options.get(b"name", b"").decode()
        self._value = bytearray()
        if self._name == self._file_field and b"filename" in options:
            if self._form.filename is not None:
                raise ApiError("Send one file in each request.", param=self._file_field)
            self._value = None
            self._form.filename = options[b"filename"].decode()
            self._form.content_type = self._headers.get(b"content-type", b"").decode() or None

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._value is None:
            self._pieces.append(data[start:end])
        else:
            self._value.extend(self._small(data[start:end]))

    def _end_part(self) -> None:
        if self._value is not None:
            self._form.fields[self._name] = self._value.decode()

    def _end(self) -> None:
        self._is_complete = True

    def _small(self, data: bytes) -> bytes:
        self._small_bytes += len(data)
        if self._small_bytes > MAX_FIELD_BYTES:
            raise _too_many_fields()
        return data


def _too_many_fields() -> ApiError:
    return ApiError(
        f"The form has more than {MAX_FIELD_BYTES} bytes beside its file. Send fewer fields.",
        status=413,
        code="request_too_large",
    )


def _invalid() -> ApiError:
    return ApiError("The body is no complete multipart form. Check how it is sent.", code="invalid_form")
