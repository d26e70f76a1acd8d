"""A real mail arrives at a real SMTP server, through a real worker."""

from __future__ import annotations

import ssl
import subprocess

import pytest

from tests.support.mailbox import MAIL, send
from tests.support.servers import free_port
from tests.support.waiting import until


@pytest.fixture
def certificate(tmp_path):
    """A certificate for localhost, its own CA; (file, context of a server)."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-keyout",
            str(key),
            "-out",
            str(cert),
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return str(cert), context


def test_a_mail_arrives_as_it_was_asked_for(world, smtp, mailbox):
    send(world, smtp(), tls="none")
    message = mailbox.message()
    assert message["From"] == "Shop <no-reply@shop.example>"
    assert (message["To"], message["Subject"]) == ("user@example.com", "Grüße")
    assert message.get_content().replace("\r\n", "\n") == "first\n.\nlast\n"
    assert world.totals()["succeeded"] == 1


def test_a_login_goes_over_starttls_with_the_password_of_a_file(
    world, smtp, mailbox, certificate, tmp_path
):
    ca_file, context = certificate
    (tmp_path / "password").write_text("p:ss word\n")
    worker = send(
        world,
        smtp(tls_context=context, require_starttls=True, auth_required=True),
        username="shop",
        password_file=str(tmp_path / "password"),
        tls_ca_file=ca_file,
    )
    assert mailbox.logins == [(b"shop", b"p:ss word")]
    assert mailbox.message()["Subject"] == "Grüße"
    assert "p:ss word" not in worker.log()


def test_a_server_without_tls_or_with_a_strange_certificate_gets_no_mail(
    world, smtp, mailbox, certificate
):
    send(world, smtp())  # tls: starttls is the default, and it offers none
    send(world, smtp(tls_context=certificate[1]))  # a CA that nobody told us of
    assert mailbox.mails == []
    assert world.totals()["failed"] == 2


def test_a_server_that_refuses_for_good_makes_a_dead_letter_that_says_why(world, smtp, mailbox):
    send(
        world,
        smtp(),
        {**MAIL, "to": "gone@example.com"},
        {**MAIL, "to": "later@example.com"},
        {**MAIL, "to": ["gone@example.com", "user@example.com"]},
        tls="none",
    )
    reasons = {letter["reason"] for letter in world.dead()}
    assert reasons == {b"rejected", b"error"}
    assert any(b"no such user" in letter["error"] for letter in world.dead())
    assert [envelope.rcpt_tos for envelope in mailbox.mails] == [["user@example.com"]]


def test_an_injected_header_is_refused_and_nothing_is_sent(world, smtp, mailbox):
    evil = "x\r\nX-Evil: 1"
    named = f"{evil} <user@example.com>"
    fields = {"subject": evil, "to": named, "cc": named, "bcc": [named], "reply_to": named}
    mails = [{**MAIL, name: value} for name, value in fields.items()]
    # What Python's own mail library lets past; some servers break a line there.
    mails += [{**MAIL, "subject": "x\x0bX-Evil: 1"}, {**MAIL, "to": "x\0 <user@example.com>"}]
    # What it makes line breaks of: encoded words.
    encoded = "=?utf-8?q?x=0D=0AFrom=3A_boss=40x.org=0D=0A=0D=0Abody?="
    mails += [{**MAIL, "subject": encoded}, {**MAIL, "to": "=?utf-8?q?=0D=0AX?=@example.com"}]
    mails += [{**MAIL, name: f"{encoded} <u@x.org>"} for name in ("to", "cc", "bcc", "reply_to")]
    send(world, smtp(), *mails, tls="none")
    said = {(letter["outcome"], letter["reason"]) for letter in world.dead()}
    assert (len(world.dead()), said) == (len(mails), {(b"failed", b"rejected")})
    assert mailbox.mails == []


def test_a_server_that_is_away_fails_the_task_and_the_worker_lives(world):
    worker = send(world, free_port(), tls="none")
    assert world.dead()[0]["reason"] == b"error"
    until(worker.ready)


def test_a_worker_without_a_mail_server_says_that_it_sends_nothing(world):
    worker = world.start_worker(handlers=["taskrig.handlers"])
    world.enqueue("email", **MAIL)
    world.all_settled()
    assert "dry run, email.host is not set" in worker.log()


def test_a_file_result_is_pushed_to_the_key_that_the_producer_named(world, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").write_bytes(b"x\n")
    world.start_worker(
        handlers=["taskrig.handlers"],
        files={"root": str(tmp_path / "root"), "results_prefix": "results:"},
    )
    task = {"path": "a", "operation": "count_lines"}
    world.push(
        *(
            f'{{"type":"file_process","data":{{"path":"a","operation":"count_lines",'
            f'"result_key":"{key}"}}}}'
            for key in ("results:1", "other:1", "results:", "{async_tasks}:stats")
        )
    )
    world.all_settled()
    [result] = world.redis.lrange("results:1", 0, -1)
    assert b'"lines": 1' in result and task["operation"].encode() in result
    assert 0 < world.redis.ttl("results:1") <= 86400
    assert not world.redis.exists("other:1", "results:")
    assert len(world.dead()) == 3
