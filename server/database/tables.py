"""The tables of the database, as SQLAlchemy sees them; the migrations create them."""

from sqlalchemy import BigInteger, Column, Double, Index, MetaData, String, Table, Text

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
