"""The settings of files and batches, which are off until the operator names a folder."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from .group import SettingsGroup

GIB = 2**30


class FileSettings(SettingsGroup):
    """Where files are kept, and how much of them."""

    title = "Files and batches"

    files: Path | None = Field(
        default=None,
        description="Folder that keeps uploaded files and the results of batches. Without it, `/v1/files`, "
        "`/v1/uploads` and `/v1/batches` answer 404.",
    )
    file_url: str | None = Field(
        default=None,
        description="URL that keeps the contents of files, such as `s3://BUCKET/FOLDER`: any that fsspec "
        "knows, with the package for it installed. The folder of --files then has copies of them.",
    )
    file_copies_gib: int = Field(
        default=32,
        ge=1,
        description="Size (GiB) of those copies; those that were used within the last hour stay anyway.",
    )
    database: SecretStr | None = Field(
        default=None,
        description="Address of the database of files and batches: `postgresql://USER:PASSWORD@HOST/NAME` or "
        "`sqlite:///PATH`. By default it is SQLite in the folder of `--files`.",
    )
    max_file_bytes: int = Field(default=8 * GIB, ge=1, description="Most bytes of one uploaded file.")
    max_stored_bytes: int = Field(
        default=64 * GIB,
        ge=1,
        description="Most bytes of all files of one API key together; results of batches count too.",
    )

    max_batches: int = Field(
        default=100, ge=1, description="Most batches of one API key that have not ended."
    )
    max_batch_lines: int = Field(default=50_000, ge=1, description="Most lines of one batch.")
    batch_concurrency: int = Field(
        default=8, ge=1, description="Most lines of batches that are answered at the same time."
    )
    batch_lease_seconds: float = Field(
        default=60.0,
        ge=1,
        description="Seconds after which another server takes over the lines of one that is gone.",
    )

    @model_validator(mode="after")
    def _database_belongs_to_files(self) -> Self:
        if self.database is not None and self.files is None:
            raise ValueError("--database needs --files, the folder for the contents of files")
        if self.file_url is not None and self.files is None:
            raise ValueError("--file-url needs --files, the folder for copies of the contents")
        if self.file_url is not None and urlsplit(self.file_url).password is not None:
            raise ValueError("file_url must hold no password; give it as the storage's own variable has it")
        return self

    @property
    def database_url(self) -> str:
        """The URL of the database; used only if there is a folder for files."""
        assert self.files is not None
        if self.database is not None:
            return self.database.get_secret_value()
        return f"sqlite:///{self.files.absolute() / 'internvl3.sqlite'}"
