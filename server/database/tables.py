"""The tables of the database, as SQLAlchemy sees them; the migrations create them."""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, String, Table, Text, text

METADATA = MetaData()

# Times are Unix seconds.
FILES = Table(
    "files",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),  # the name of an API key
    Column("filename", Text, nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("content_type", Text, nullable=True),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=True),
    Index("files_by_owner", "owner", "created_at", "id"),
)

BATCHES = Table(
    "batches",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("endpoint", String(64), nullable=False),
    Column("input_file_id", String(64), nullable=False),
    Column("completion_window", String(16), nullable=False),
    Column("metadata", Text, nullable=True),  # JSON
    Column("output_lifetime", Integer, nullable=True),  # seconds until the files with results expire
    Column("status", String(16), nullable=False),
    Column("ending", String(16), nullable=True),  # the status that finalizing or cancelling leads to
    Column("created_at", Double, nullable=False),
    Column("in_progress_at", Double, nullable=True),
    Column("expires_at", Double, nullable=True),
    Column("finalizing_at", Double, nullable=True),
    Column("completed_at", Double, nullable=True),
    Column("failed_at", Double, nullable=True),
    Column("expired_at", Double, nullable=True),
    Column("cancelling_at", Double, nullable=True),
    Column("cancelled_at", Double, nullable=True),
    Column("output_file_id", String(64), nullable=True),
    Column("error_file_id", String(64), nullable=True),
    Column("errors", Text, nullable=True),  # JSON
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("lease_holder", String(64), nullable=True),  # the server that validates or finalizes it
    Column("lease_until", Double, nullable=True),
    Index("batches_by_owner", "owner", "created_at", "id"),
    Index("batches_by_status", "status"),
)

LINES = Table(
    "batch_lines",
    METADATA,
    Column("batch_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # of the line in its file, from 1
    Column("custom_id", Text, nullable=False),
    Column("start", BigInteger, nullable=False),  # byte in the file
    Column("length", BigInteger, nullable=False),  # bytes
    Column("outcome", String(16), nullable=True),  # None until the line is finished
    Column("record", Text, nullable=True),  # the line of the file with results
    Column("attempts", Integer, nullable=False),
    Column("not_before", Double, nullable=False),  # the time of the next attempt
    Column("lease_holder", String(64), nullable=True),  # the server that answers it
    Column("lease_until", Double, nullable=True),
    Index(
        "unfinished_lines",
        "batch_id",
        "number",
        sqlite_where=text("outcome IS NULL"),
        postgresql_where=text("outcome IS NULL"),
    ),
    Index("lines_by_holder", "lease_holder"),
)

UPLOADS = Table(
    "uploads",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("content_type", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),  # that its parts must have together
    Column("lifetime", Integer, nullable=True),  # seconds until the file expires
    Column("status", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("file_id", String(64), nullable=True),
)

PARTS = Table(
    "upload_parts",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("upload_id", String(64), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("parts_by_upload", "upload_id"),
    Index("parts_by_owner", "owner"),
)
