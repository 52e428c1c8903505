"""The command `internvl3 serve`, which is also `python -m server`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ttscaling.types import OnCriticError

from .launch import Stopped, end_at_once, run
from .limit_settings import VideoBackend
from .settings import CriticDelta, Dtype, LogLevel, Settings, default_text


def _flag(field: str) -> Any:
    """Return the option of one setting, whose help names the setting's default and its variable.

    typer doesn't apply the default: an option that isn't given is None, and `Settings` decides.
    """
    default = default_text(field)
    text = f"{Settings.model_fields[field].description} (INTERNVL3_{field.upper()})"
    return typer.Option(help=f"{text} Default: {default}" if default else text, show_default=False)


def serve(
    allowed_hosts: Annotated[str | None, _flag("allowed_hosts")] = None,
    api_keys: Annotated[Path | None, _flag("api_keys")] = None,
    api_key: Annotated[str | None, _flag("api_key")] = None,
    allowed_origins: Annotated[str | None, _flag("allowed_origins")] = None,
    policy: Annotated[str | None, _flag("policy")] = None,
    adapters: Annotated[str | None, _flag("adapters")] = None,
    name: Annotated[str | None, _flag("name")] = None,
    files: Annotated[Path | None, _flag("files")] = None,
    database: Annotated[str | None, _flag("database")] = None,
    max_file_bytes: Annotated[int | None, _flag("max_file_bytes")] = None,
    max_stored_bytes: Annotated[int | None, _flag("max_stored_bytes")] = None,
    critic: Annotated[str | None, _flag("critic")] = None,
    critic_url: Annotated[str | None, _flag("critic_url")] = None,
    critic_key: Annotated[str | None, _flag("critic_key")] = None,
    critic_media_mib: Annotated[int | None, _flag("critic_media_mib")] = None,
    host: Annotated[str | None, _flag("host")] = None,
    port: Annotated[int | None, _flag("port")] = None,
    system_message: Annotated[str | None, _flag("system_message")] = None,
    critic_system_message: Annotated[str | None, _flag("critic_system_message")] = None,
    trust_special_tokens: Annotated[bool | None, _flag("trust_special_tokens")] = None,
    dtype: Annotated[Dtype | None, _flag("dtype")] = None,
    max_model_len: Annotated[int | None, _flag("max_model_len")] = None,
    cut_max_tokens: Annotated[bool | None, _flag("cut_max_tokens")] = None,
    kv_cache_gib: Annotated[int | None, _flag("kv_cache_gib")] = None,
    policy_args: Annotated[str | None, _flag("policy_args")] = None,
    critic_args: Annotated[str | None, _flag("critic_args")] = None,
    critic_delta: Annotated[CriticDelta | None, _flag("critic_delta")] = None,
    critic_seconds: Annotated[float | None, _flag("critic_seconds")] = None,
    on_critic_error: Annotated[OnCriticError | None, _flag("on_critic_error")] = None,
    max_best_of: Annotated[int | None, _flag("max_best_of")] = None,
    max_answers: Annotated[int | None, _flag("max_answers")] = None,
    max_answer_steps: Annotated[int | None, _flag("max_answer_steps")] = None,
    grammar_seconds: Annotated[float | None, _flag("grammar_seconds")] = None,
    max_images: Annotated[int | None, _flag("max_images")] = None,
    max_tiles: Annotated[int | None, _flag("max_tiles")] = None,
    max_total_tiles: Annotated[int | None, _flag("max_total_tiles")] = None,
    max_pixels: Annotated[int | None, _flag("max_pixels")] = None,
    max_request_tiles: Annotated[int | None, _flag("max_request_tiles")] = None,
    max_request_frames: Annotated[int | None, _flag("max_request_frames")] = None,
    max_request_steps: Annotated[int | None, _flag("max_request_steps")] = None,
    max_request_characters: Annotated[int | None, _flag("max_request_characters")] = None,
    max_request_mib: Annotated[int | None, _flag("max_request_mib")] = None,
    media_seconds: Annotated[float | None, _flag("media_seconds")] = None,
    max_image_bytes: Annotated[int | None, _flag("max_image_bytes")] = None,
    max_videos: Annotated[int | None, _flag("max_videos")] = None,
    max_frames: Annotated[int | None, _flag("max_frames")] = None,
    max_video_bytes: Annotated[int | None, _flag("max_video_bytes")] = None,
    max_body_bytes: Annotated[int | None, _flag("max_body_bytes")] = None,
    in_flight_mib: Annotated[int | None, _flag("in_flight_mib")] = None,
    max_running_tokens: Annotated[int | None, _flag("max_running_tokens")] = None,
    max_queued: Annotated[int | None, _flag("max_queued")] = None,
    queue_seconds: Annotated[float | None, _flag("queue_seconds")] = None,
    max_connections: Annotated[int | None, _flag("max_connections")] = None,
    head_seconds: Annotated[float | None, _flag("head_seconds")] = None,
    body_seconds: Annotated[float | None, _flag("body_seconds")] = None,
    write_seconds: Annotated[float | None, _flag("write_seconds")] = None,
    fetch_seconds: Annotated[float | None, _flag("fetch_seconds")] = None,
    fetch_video_seconds: Annotated[float | None, _flag("fetch_video_seconds")] = None,
    video_seconds: Annotated[float | None, _flag("video_seconds")] = None,
    video_memory_mib: Annotated[int | None, _flag("video_memory_mib")] = None,
    video_backend: Annotated[VideoBackend | None, _flag("video_backend")] = None,
    drain_delay: Annotated[int | None, _flag("drain_delay")] = None,
    drain_seconds: Annotated[int | None, _flag("drain_seconds")] = None,
    decode_threads: Annotated[int | None, _flag("decode_threads")] = None,
    decode_processes: Annotated[int | None, _flag("decode_processes")] = None,
    private_media_hosts: Annotated[str | None, _flag("private_media_hosts")] = None,
    media_ports: Annotated[str | None, _flag("media_ports")] = None,
    log_level: Annotated[LogLevel | None, _flag("log_level")] = None,
) -> None:
    """Serve InternVL3 behind OpenAI's API, with Best-of-N scored by a process reward critic.

    Without options, the server runs the embedded nano checkpoints, which need no GPU.
    Its address is http://127.0.0.1:8000/v1. Ask about one of the example sheets in another shell:

    internvl3 ask "What is the sum of row 1?" --image sheet.png --best-of 8

    The name in parentheses behind an option is the environment variable that sets it, too.
    """
    options = {field: value for field, value in locals().items() if value is not None}
    try:
        settings = Settings(**options)
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{first['loc'][0]}: {first['msg']}") from None
    try:
        status = run(settings)
    except Stopped as stopped:
        status = stopped.status
    end_at_once(status)


if __name__ == "__main__":
    typer.run(serve)
