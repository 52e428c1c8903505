"""A job in a process of its own, which a test may kill: SOURCE OUT URL,URL CONCURRENCY SHARD."""

import sys
from pathlib import Path

from rich.console import Console

from clients.video_jobs.run.session import run_job
from clients.video_jobs.run.video_group import shard_of
from tests.clients.video_jobs.jobs import options
from tests.clients.video_jobs.whole_video import whole_video


def main() -> None:
    source, out, urls, concurrency, shard = sys.argv[1:]
    chosen = options(
        source,
        Path(out),
        *urls.split(","),
        concurrency=int(concurrency),
        shard=shard_of(shard) if shard else None,
    )
    ending = run_job(chosen, whole_video, Console(stderr=True))
    print(ending.message or "", file=sys.stderr)
    sys.exit(ending.code)


if __name__ == "__main__":
    main()
