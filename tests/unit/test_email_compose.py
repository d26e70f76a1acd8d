"""What the email handler makes of a task, before any server is asked."""

from __future__ import annotations

import pytest

from worker import Reject
from worker.handlers.email import compose, send_email
from worker.testing import run_task

GOOD = {"to": "user@example.com", "subject": "hi", "body": "x"}


def mail(**data):
    return compose({**GOOD, **data}, "Shop <no-reply@shop.example>")


def test_a_plain_task_becomes_a_plain_mail():
    message, recipients = mail()
    assert recipients == ["user@example.com"]
    assert message["From"] == "Shop <no-reply@shop.example>"
    assert (message["To"], message["Subject"]) == ("user@example.com", "hi")
    assert message.get_content() == "x\r\n" or message.get_content() == "x\n"
    assert message["Message-ID"].endswith("@shop.example>")


def test_copies_are_sent_and_blind_ones_are_not_named():
    message, recipients = mail(
        to=["a@x.org", "Bea <b@x.org>"],
        cc="c@x.org",
        bcc=["d@x.org", "a@x.org"],
        reply_to="e@x.org",
    )
    assert recipients == ["a@x.org", "b@x.org", "c@x.org", "d@x.org"]
    text = message.as_string()
    assert "d@x.org" not in text and "Reply-To: e@x.org" in text and "Bea <b@x.org>" in text


def test_text_of_any_language_and_html_survive():
    message, _ = mail(subject="Grüße 你好", body="Zeile 1\n行 2\n" + "x" * 3000, html="<p>你好</p>")
    read = {part.get_content_type(): part.get_content() for part in message.walk()
            if not part.is_multipart()}  # fmt: skip
    assert "行 2" in read["text/plain"].replace("\r\n", "\n")
    assert "<p>你好</p>" in read["text/html"]
    assert str(message["Subject"]) == "Grüße 你好"
    message.as_bytes().decode("ascii")


def test_an_international_domain_is_written_in_ascii():
    assert mail(to="info@bücher.example")[1] == ["info@xn--bcher-kva.example"]


def test_the_same_id_makes_the_same_message_id_and_another_id_another():
    first, again, other = (mail(id=one)[0]["Message-ID"] for one in ("7", "7", "8"))
    assert first == again != other


INJECTIONS = ["x\nBcc: evil@x.org", "x\r\nBcc: evil@x.org", "x\rBcc: e@x.org", "x\0", "x\x0b",
              "x\u2028y", "x\x85Bcc: evil@x.org", "x\r\nX-Evil: 1", "x\nX-Evil: 1"]  # fmt: skip


@pytest.mark.parametrize("field", ["subject", "to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
def test_a_header_cannot_be_injected(field, text):
    for value in (text, f"{text} <user@example.com>", f"user@example.com{text[1:]}"):
        with pytest.raises(Reject, match=r"control character|no mail address"):
            mail(**{field: value})


@pytest.mark.parametrize(
    "text", ["50\u202f% off", "no\xa0break", "soft\xadhyphen", "\U0001f469\u200d\U0001f467"]
)
def test_spaces_that_do_not_break_and_joined_emoji_are_text(text):
    message, _ = mail(subject=text, to=f"{text} <user@example.com>")
    assert str(message["Subject"]) == text
    message.as_bytes().decode("ascii")


@pytest.mark.parametrize("body", ["\nBcc: evil@x.org\n\n.\r\nMAIL FROM:<x@x.org>\r\n", "\0", "\r"])
def test_whatever_the_body_holds_it_stays_body(body):
    message, recipients = mail(body=body, html=body)
    assert recipients == ["user@example.com"]
    assert message["Bcc"] is None


@pytest.mark.parametrize(
    "address",
    [
        "", "user", "@x.org", "user@", "a@b@c.org", "a b@x.org", "user@-x.org", "user@x..org",
        ".a@x.org", "a..b@x.org", "user@[127.0.0.1]", "a@x.org,b@x.org", "a@x.org;b@x.org",
        "<a@x.org> <b@x.org>", "a@x.org b@x.org", "ü@x.org", "u" * 65 + "@x.org", 7, None,
        ["a@x.org"], {"to": 1}, "a@x.org>", "a@x.org\t",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_address_is_rejected(address):
    with pytest.raises(Reject, match=r"email: "):
        mail(to=[address])


@pytest.mark.parametrize(
    "data",
    [None, [], "to", {}, {"subject": "x"}, {**GOOD, "subjct": "x"}, {**GOOD, "subject": 7},
     {**GOOD, "body": ["x"]}, {**GOOD, "to": []}, {**GOOD, "id": 7}, {**GOOD, "subject": "x" * 999},
     {**GOOD, "to": [f"u{i}@x.org" for i in range(101)]}, {**GOOD, "from": "boss@x.org"}],
    ids=lambda data: ascii(data)[:40],
)  # fmt: skip
def test_a_task_that_makes_no_sense_is_rejected(data):
    with pytest.raises(Reject, match="email: "):
        compose(data, None)


async def test_without_a_server_it_is_a_dry_run_that_says_so(caplog):
    caplog.set_level("INFO", "worker.handlers")
    assert (await run_task(send_email, GOOD)).ok
    assert "dry run, email.host is not set: would send to user@example.com" in caplog.text


@pytest.mark.parametrize(
    "data", [{}, {**GOOD, "to": "nobody"}, {**GOOD, "subject": "x\nBcc: e@x.org"}]
)
async def test_a_mail_that_cannot_be_fails_for_good_and_says_why(data):
    ran = await run_task(send_email, data, type="email")
    assert (ran.outcome, ran.reason, ran.retry_after_s) == ("failed", "rejected", None)
    assert ran.error.startswith("Reject: email: ")
