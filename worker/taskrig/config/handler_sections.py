"""The sections of config.yaml for the handlers that come with Taskrig."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import model_validator

from taskrig.config import checks
from taskrig.config.quantities import Seconds, Size, Whole
from taskrig.config.readings import OrNone, wrong
from taskrig.config.sections import FileName, SecretText, Section
from taskrig.config.texts import Choice, Words

Tls = Literal["starttls", "tls", "none"]


class EmailConfig(Section):
    """The server through which the `email` handler sends; without a host it is a dry run."""

    host: Annotated[str | None, OrNone(Words(checks.host))] = None
    """The SMTP server; none is a dry run that logs what it would send."""
    port: Annotated[int, Whole(1, 65535)] = 587
    """Its port."""
    tls: Annotated[Tls, Choice("starttls", "tls", "none")] = "starttls"
    """`tls` from the first byte (port 465), `starttls`, or `none`."""
    tls_ca_file: FileName = None
    """PEM file of a private CA; none takes the system's."""
    username: Annotated[str | None, OrNone(Words())] = None
    """The login; needs TLS."""
    password: SecretText = None
    """Its password."""
    password_file: FileName = None
    """A file that holds the password."""
    sender: Annotated[str | None, OrNone(Words(checks.mail_sender))] = None
    """The address that mails come from; needed with `host`."""
    timeout_s: Annotated[float, Seconds(zero=False, most=600)] = 20.0
    """How long sending one mail may take."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.host and not self.sender:
            raise wrong("host needs sender too, the address that mails come from")
        if (self.username is None) != (self.password is None):
            raise wrong("username and password (or password_file) need each other")
        if self.username and self.tls == "none":
            raise wrong("a login would cross the network readable; tls must be starttls or tls")
        return self


class FilesConfig(Section):
    """Where the `file_process` handler may work; without a root it is a dry run."""

    root: FileName = None
    """The folder that it works in and never leaves; none is a dry run."""
    max_bytes: Annotated[int, Size(least=1, most=2**40)] = 100 * 2**20
    """A larger file is refused."""
    results_prefix: Annotated[str | None, OrNone(Words())] = None
    """How the Redis lists begin that tasks may have results pushed to; none allows none."""
