"""One mail handed to an SMTP server, once."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from typing import TYPE_CHECKING

from taskrig import Reject

if TYPE_CHECKING:
    import aiosmtplib

    from taskrig.config.sections import EmailConfig

Refused = dict[str, tuple[int, str]]  # address -> the server's code and text


async def send(config: EmailConfig, sender: str, recipients: list[str], content: bytes) -> Refused:
    """Hand the mail over once; returns who was refused.

    Raises:
        Reject: the server refuses this mail permanently, whoever is to get it.
    """
    import aiosmtplib

    client = await asyncio.to_thread(_client, config)
    try:
        await client.connect()
        answers, _ = await client.sendmail(sender, recipients, content)
        _say_goodbye(client)
        return {address: (answer.code, answer.message) for address, answer in answers.items()}
    except aiosmtplib.SMTPRecipientsRefused as fault:
        return {one.recipient: (one.code, one.message) for one in fault.recipients}
    except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPDataError) as fault:
        if fault.code >= 500:
            raise Reject(f"the server refused it: {fault.code} {fault.message}") from fault
        raise  # other refusals are the server's business with us, not with this mail
    finally:
        client.close()


def _client(config: EmailConfig) -> aiosmtplib.SMTP:
    import aiosmtplib

    tls_context = None
    if config.tls != "none":
        tls_context = ssl.create_default_context(cafile=config.tls_ca_file)
    return aiosmtplib.SMTP(
        hostname=config.host,
        port=config.port,
        local_hostname=_own_name(),
        username=config.username,
        password=config.password.get_secret_value() if config.password else None,
        use_tls=config.tls == "tls",
        start_tls=config.tls == "starttls",
        tls_context=tls_context,
        timeout=config.timeout_s,
    )


@functools.cache
def _own_name() -> str:
    return socket.getfqdn()  # may take seconds where names are resolved slowly


def _say_goodbye(client: aiosmtplib.SMTP) -> None:
    """QUIT without waiting for the answer: the mail has been accepted, whatever that says."""
    if client.protocol is not None:
        try:
            client.protocol.write(b"QUIT\r\n")
        except ConnectionError:
            pass  # the server hung up first
