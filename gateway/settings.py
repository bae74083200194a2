"""Every setting, with its unit, default and meaning. Frozen once read.

Read from, strongest first: environment variables `OSTIARY_<NAME>`, then the TOML file
named by `OSTIARY_CONFIG` (default `./ostiary.toml`, if it exists). A name that is not
a setting is an error in the file and ignored in the environment.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


class UpstreamMode(StrEnum):
    """How an engine over HTTP is spoken to."""

    TOKEN = "token"  # noqa: S105 - not a secret: token ids in, token ids out (vLLM)
    CHAT = "chat"  # any OpenAI-compatible Chat Completions server


class ContentMode(StrEnum):
    """Of which exchanges the content is kept."""

    NONE = "none"
    FLAGGED = "flagged"  # those with a decision above `allow`
    ALL = "all"


class LogFormat(StrEnum):
    """How operations log lines are written."""

    CONSOLE = "console"
    JSON = "json"


class Settings(BaseSettings):
    """All of Ostiary's settings."""

    model_config = SettingsConfigDict(env_prefix="OSTIARY_", frozen=True, extra="forbid")

    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on.")] = 8080
    home: Annotated[Path, Field(description="Directory for the database, keys and caches.")] = Path(
        ".ostiary"
    )
    database_url: Annotated[
        str,
        Field(
            description="SQLAlchemy URL, `postgresql://...` or `sqlite:///...`; "
            "empty means `<home>/ostiary.db`."
        ),
    ] = ""
    redis_url: Annotated[
        str, Field(description="Redis or Valkey for shared limits; empty means in process.")
    ] = ""
    model: Annotated[
        str,
        Field(description="`tiny` (a stand-in), a directory of weights, or a hub id."),
    ] = "tiny"
    upstream_url: Annotated[
        str,
        Field(description="Base URL of an engine, as in `http://127.0.0.1:8000/v1`."),
    ] = ""
    upstream_mode: Annotated[
        UpstreamMode, Field(description="`token` for vLLM, `chat` for any other server.")
    ] = UpstreamMode.TOKEN
    upstream_model: Annotated[
        str, Field(description="The model's name at the engine; empty means `model`.")
    ] = ""
    upstream_api_key: Annotated[
        SecretStr, Field(description="Bearer token for the engine; empty means none.")
    ] = SecretStr("")
    upstream_timeout_s: Annotated[
        float,
        Field(
            gt=0, description="Longest silence from the model before it counts as down, seconds."
        ),
    ] = 60.0
    generation_timeout_s: Annotated[
        float, Field(gt=0, description="Longest time one reply may take, seconds.")
    ] = 600.0
    policy: Annotated[
        str,
        Field(description="A policy file, or the name of a built-in one."),
    ] = "baseline"
    policy_keys: Annotated[
        str,
        Field(
            description="A file of verifier keys, one a line: whose signatures a policy needs "
            "to be activated; empty means that it needs none."
        ),
    ] = ""
    policy_signatures: Annotated[
        int,
        Field(ge=1, le=16, description="How many of these keys must have signed; 2 is four eyes."),
    ] = 1
    classifiers: Annotated[
        tuple[str, ...],
        Field(
            description="Names of the classifiers on the panel, as a JSON list; one that ends in "
            "`.toml` is a file of your own patterns. The baseline needs the first two, the agents "
            "pack `carried` as well: what nobody reads for is stopped."
        ),
    ] = ("patterns", "encoder", "monitor", "carried")
    judges_file: Annotated[
        str,
        Field(description="A TOML file that says which judges there are; empty means none."),
    ] = ""
    canaries_file: Annotated[
        str,
        Field(
            description="A file of texts that must never leave in a call or a reply, one a line; "
            "empty means none."
        ),
    ] = ""
    oversight_judge: Annotated[
        str,
        Field(
            description="The judge, of kind `overseer`, that reviews exchanges after they have "
            "ended; empty means that none does."
        ),
    ] = ""
    oversight_percent: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="The share of unsuspicious exchanges that it reviews beside the others, "
            "percent.",
        ),
    ] = 1.0
    probes_file: Annotated[
        str,
        Field(
            description="Probes on the model in this process, a `.safetensors` file trained on "
            "its very weights; empty means none."
        ),
    ] = ""
    bootstrap_key: Annotated[
        SecretStr,
        Field(description="An API key to accept from first start on, for scripts; scope `admin`."),
    ] = SecretStr("")
    expose_reasoning: Annotated[
        bool,
        Field(
            description="Send all callers the raw chain of thought, judged like output, and take "
            "it back from them."
        ),
    ] = False
    expose_reasoning_to: Annotated[
        tuple[str, ...],
        Field(description="Projects whose callers are sent it, as a JSON list."),
    ] = ()
    log_key: Annotated[
        str,
        Field(
            description="A file with the key that signs the log's checkpoints; empty means "
            "`<home>/keys/log`, made at the first start."
        ),
    ] = ""
    log_mldsa: Annotated[
        bool,
        Field(
            description="Sign checkpoints with ML-DSA-44 too, with the key in "
            "`<home>/keys/log-mldsa`, made at the first start."
        ),
    ] = False
    witnesses: Annotated[
        tuple[str, ...],
        Field(
            description="Who is asked to cosign checkpoints, as a JSON list of "
            "`https://... <witness key>`; nobody else is spoken to."
        ),
    ] = ()
    head_keeper: Annotated[
        str,
        Field(
            description="A directory or a database's URL where signed checkpoints are kept apart "
            "from the log; empty means `<home>/heads`."
        ),
    ] = ""
    max_body_bytes: Annotated[
        int, Field(gt=0, description="Largest request body that is read, bytes.")
    ] = 8 * 1024 * 1024
    body_timeout_s: Annotated[
        float, Field(gt=0, description="Longest time a request body may take, seconds.")
    ] = 30.0
    max_messages: Annotated[
        int,
        Field(
            gt=0,
            description="Most messages or input items in one request; each tool call, and each "
            "thought, counts as one.",
        ),
    ] = 2000
    max_concurrent: Annotated[
        int, Field(gt=0, description="Most requests in flight; one more gets 503.")
    ] = 1024
    requests_per_minute: Annotated[
        int, Field(gt=0, description="Default request quota of a new key.")
    ] = 6000
    tokens_per_minute: Annotated[
        int, Field(gt=0, description="Default token quota of a new key.")
    ] = 10_000_000
    content: Annotated[
        ContentMode,
        Field(
            description="Of which exchanges the content is kept, encrypted: `none`, `flagged` "
            "(a decision was above `allow`) or `all`."
        ),
    ] = ContentMode.FLAGGED
    content_days: Annotated[int, Field(ge=1, description="How long content is kept, days.")] = 30
    reasoning_days: Annotated[
        int,
        Field(
            ge=1,
            description="How long the model's thoughts are kept, days, if less than "
            "`content_days`.",
        ),
    ] = 30
    vault_key: Annotated[
        SecretStr,
        Field(
            description="Master keys of kept content, 32 bytes as base64, the newest first, "
            "separated by commas; empty means the file `<home>/keys/vault`."
        ),
    ] = SecretStr("")
    vault_command: Annotated[
        tuple[str, ...],
        Field(
            description="A program that wraps and unwraps with master keys of its own, as a JSON "
            "list of it and its arguments; empty means none."
        ),
    ] = ()
    spool_mb: Annotated[
        int,
        Field(
            ge=1,
            le=65_536,
            description="How much may wait on disk while the log cannot be written, MiB; of "
            "policies with `durability: spool`.",
        ),
    ] = 64
    stale_s: Annotated[
        float,
        Field(
            ge=0,
            description="How old what is known of keys, stops and strikes may be while the "
            "database is away, seconds; 0 refuses requests then.",
        ),
    ] = 0.0
    lease_s: Annotated[
        float,
        Field(
            gt=0,
            description="After this long without a heartbeat a replica counts as dead, seconds.",
        ),
    ] = 15.0
    review_timeout_s: Annotated[
        float,
        Field(
            gt=0,
            le=86_400,
            description="How long a person has to decide about a tool call that is held, seconds; "
            "after that it is not released.",
        ),
    ] = 300.0
    review_approvals: Annotated[
        int,
        Field(ge=1, le=2, description="How many people have to approve it; 2 is four eyes."),
    ] = 1
    webhooks_file: Annotated[
        str,
        Field(
            description="A TOML file that says which endpoints are told of which safety notices; "
            "empty means that nobody is."
        ),
    ] = ""
    egress_allow: Annotated[
        tuple[str, ...],
        Field(
            description="Addresses and networks that webhooks may go to though they are not "
            "public, as a JSON list of `10.1.0.0/16` and the like."
        ),
    ] = ()
    stop_days: Annotated[
        int,
        Field(ge=1, le=3650, description="How long a stopped conversation stays stopped, days."),
    ] = 30
    drain_s: Annotated[
        float, Field(ge=0, description="How long open replies may finish at shutdown, seconds.")
    ] = 10.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="`debug`, `info`, `warning` or `error`."),
    ] = "info"
    log_format: Annotated[
        LogFormat, Field(description="`console` for people, `json` for machines.")
    ] = LogFormat.CONSOLE

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first (tests), then the environment, then the TOML file."""
        toml = TomlConfigSettingsSource(
            settings_cls, os.environ.get("OSTIARY_CONFIG", "ostiary.toml")
        )
        return init_settings, env_settings, toml

    @model_validator(mode="after")
    def _check_upstream_url(self) -> Settings:
        if self.upstream_url and not self.upstream_url.startswith(("http://", "https://")):
            raise ValueError("`upstream_url` must start with `http://` or `https://`")
        return self

    @model_validator(mode="after")
    def _check_probes_file(self) -> Settings:
        if self.probes_file and self.upstream_url:
            raise ValueError("`probes_file` reads a model in this process; `upstream_url` has none")
        return self

    def exposes_reasoning_to(self, project: str) -> bool:
        """Return whether callers of a project see raw thoughts."""
        return self.expose_reasoning or project in self.expose_reasoning_to

    @property
    def vault_file(self) -> Path:
        """Where the master keys of kept content are, unless `vault_key` says them."""
        return self.home / "keys" / "vault"

    @property
    def resolved_database_url(self) -> str:
        """The database URL with its async driver named."""
        return _with_driver(self.database_url or f"sqlite:///{self.home.resolve() / 'ostiary.db'}")

    @property
    def resolved_head_keeper(self) -> str:
        """The head-keeper's directory, or its URL with the async driver named."""
        return _with_driver(self.head_keeper) if "://" in self.head_keeper else self.head_keeper

    @property
    def resolved_log_key(self) -> Path:
        """The file of the key that signs checkpoints."""
        return Path(self.log_key) if self.log_key else self.home / "keys" / "log"


def _with_driver(url: str) -> str:
    scheme, _, rest = url.partition("://")
    drivers = {
        "sqlite": "sqlite+aiosqlite",
        "postgres": "postgresql+asyncpg",
        "postgresql": "postgresql+asyncpg",
    }
    return f"{drivers.get(scheme, scheme)}://{rest}"
