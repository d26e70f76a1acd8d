"""What the email handler makes of a task, before any server is asked."""

from __future__ import annotations

import asyncio
import email
import email.policy
import threading
import time
from email.header import decode_header, make_header
from email.utils import getaddresses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskrig import Reject
from taskrig.handlers import email as handler_module
from taskrig.handlers._mail import make_mail
from taskrig.handlers.email import compose, send_email
from taskrig.testing import run_task

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
    read = {
        part.get_content_type(): part.get_content()
        for part in message.walk()
        if not part.is_multipart()
    }
    assert "行 2" in read["text/plain"].replace("\r\n", "\n")
    assert "<p>你好</p>" in read["text/html"]
    assert str(message["Subject"]) == "Grüße 你好"
    message.as_bytes().decode("ascii")


def test_an_international_domain_is_written_in_ascii():
    assert mail(to="info@bücher.example")[1] == ["info@xn--bcher-kva.example"]


def test_the_same_id_makes_the_same_message_id_and_another_id_another():
    first, again, other = (mail(id=one)[0]["Message-ID"] for one in ("7", "7", "8"))
    assert first == again != other


INJECTIONS = [
    "x\nBcc: evil@x.org",
    "x\r\nBcc: evil@x.org",
    "x\rBcc: e@x.org",
    "x\0",
    "x\x0b",
    "x\u2028y",
    "x\x85Bcc: evil@x.org",
    "x\r\nX-Evil: 1",
    "x\nX-Evil: 1",
]


@pytest.mark.parametrize("field", ["subject", "to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
def test_a_header_cannot_be_injected(field, text):
    for value in (text, f"{text} <user@example.com>", f"user@example.com{text[1:]}"):
        with pytest.raises(Reject, match=r"control character|no mail address"):
            mail(**{field: value})


ENCODED = [
    "=?utf-8?q?x=0D=0ABcc=3A_evil=40x.org?=",
    "=?utf-8?b?eA0KQmNjOiBldmlsQHgub3JnDQoNCmJvZHk=?=",
    "=?UTF-8?Q?=0AX-Evil:_1?=",
    "=?us-ascii?q?=0D?=",
    "=?utf-8?q?a=0D?= =?utf-8?q?=0AX=3A_y?=",
    "a=?utf-8?q?=0D=0AX=3A_y?=b",
    "=?utf-8*en?q?x=0D=0AX=3A_y?=",
    "=?utf-7?q?x+AA0ACg-X=3A_y?=",
    "=?utf-16?b?DQAKAA==?=",
    "=?latin-1?q?=85X=3A_y?=",
    "=?utf-8?q?=E2=80=A8?=",
    "=?utf-8?q?=00?=",
    "=?utf-8?q?=1b[31m?=",
]


@pytest.mark.parametrize("field", ["subject", "to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize("text", ENCODED)
def test_a_header_cannot_be_injected_by_encoded_words(field, text):
    values = [text] if field == "subject" else [f"{text} <u@x.org>", f'"{text}" <u@x.org>']
    for value in values:
        with pytest.raises(Reject, match=f"email: {field} holds .*, in an encoded word"):
            mail(**{field: value})
        with pytest.raises(Reject):
            compose(GOOD, value)


@pytest.mark.parametrize("field", ["to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize("local", ["=?utf-8?q?x=0D=0AX?=", "=?utf-8?q?x?=", "=?q?=0A?="])
def test_an_encoded_word_is_not_the_name_of_a_mailbox(field, local):
    for value in (f"{local}@x.org", f"Ann <{local}@x.org>"):
        with pytest.raises(Reject, match="email: "):
            mail(**{field: value})


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("Re: =?utf-8?b?5L2g5aW9?= (2)", "Re: 你好 (2)"),
        ("what is =?utf-8 and ?=", "what is =?utf-8 and ?="),
        ("=?nosuch?q?a=0D=0Ab?=", "=?nosuch?q?a=0D=0Ab?="),  # as text: nobody can read it
        ("=?utf-8?q?=FF?=", "=?utf-8?q?=FF?="),
        ("=?", "=?"),
    ],
)
def test_encoded_words_that_hold_text_are_read_and_others_are_text(given, seen):
    message, _ = mail(subject=given, to=f"{given} <u@x.org>")
    sent = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert str(sent["Subject"]) == seen
    assert b"\n=?nosuch?" not in message.as_bytes() and b"=?utf-8?q?" not in message.as_bytes()


NAMES = [
    "O'Neil",
    "Dr. A. B",
    "Müller, Hans",
    "a\\",
    "(comment)",
    "x; y: z",
    "[1]",
    "你好" * 40,
    "Müller, Hans (Einkauf und Beschaffung Süd GmbH, Niederlassung am Stadtgarten)",
    "é, (" * 30,
    "A Name That Is So Long That No Line Of A Header Could Ever Hold It, So It Is Folded (Twice)",
    "=?utf-8?q?=22?=",
    "=?utf-8?q?a=22_=3Cevil=40x.org=3E?=",
    "=?utf-8?q?a=3C=3E=2C_b=40c?=",
]


@pytest.mark.parametrize("name", NAMES)
def test_whatever_a_name_holds_the_addresses_stay_those_that_were_given(name):
    to = [f"{name} <u{n}@x.org>" for n in range(3)]
    message, recipients = mail(to=to, cc=[f"{name} <c@x.org>"], reply_to=f"{name} <r@x.org>")
    sent = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert [one.addr_spec for one in sent["To"].addresses] == recipients[:3]
    assert [one.addr_spec for one in sent["Cc"].addresses] == ["c@x.org"]
    assert [one.addr_spec for one in sent["Reply-To"].addresses] == ["r@x.org"]
    if "=?" not in name:  # read by the old reader: the new one puts spaces between encoded words
        pairs = getaddresses([email.message_from_bytes(message.as_bytes())["To"]])
        assert {str(make_header(decode_header(shown))) for shown, _ in pairs} == {name}


TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=300)
PIECES = st.lists(
    st.sampled_from(["=?", "?=", "utf-8", "?q?", "?b?", "=0D=0A", "=0A", ":", " ", "X", "\t"])
).map("".join)


@given(subject=TEXT | PIECES, name=TEXT | PIECES)
@example(subject="x" * 998, name="")
@example(subject=" " * 200 + "x" * 80 + " " * 200, name=" ")
def test_no_text_ever_makes_a_header_of_its_own(subject, name):
    try:
        message, _ = mail(subject=subject, to=f"{name} <user@example.com>")
    except Reject:
        return
    head, _, _ = message.as_bytes().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    begun = [line.partition(b":")[0].decode() for line in lines if not line.startswith(b" ")]
    assert begun == message.keys()
    assert set(begun) <= {
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Content-Type",
        "Content-Transfer-Encoding",
        "MIME-Version",
    }
    assert all(line.isascii() and len(line) < 998 and line.strip() for line in lines)
    assert b"\n" not in b"".join(lines) and b"\r" not in b"".join(lines)


def test_what_is_given_is_bounded_before_it_is_read():
    many = ["r@x.org"] * 170_000
    for field in ("to", "cc", "bcc", "reply_to", "only"):
        with pytest.raises(Reject, match=f"170000 addresses in {field}; at most 100"):
            mail(**{field: many})
        with pytest.raises(Reject, match=f"{field} is longer than 500 characters"):
            mail(**{field: "x" * 2**20})
    with pytest.raises(Reject, match="subject is longer than 998 characters"):
        mail(subject="=?utf-8?q?a?= " * 70_000)
    with pytest.raises(Reject, match="unknown field"):
        mail(**{f"x{n}": n for n in range(100_000)})


def test_the_largest_headers_take_no_longer_than_a_large_body():
    def took_s(**data):
        began = time.thread_time()
        make_mail({**GOOD, **data}, "a@x.org").message.as_bytes()
        return time.thread_time() - began

    body_s = took_s(body="é\n" * 2**19)  # 1 MiB, seconds on no machine
    names = ("你" * 199, "é, (" * 49, "x " * 99, "(" * 199)
    for name in names:  # Python's mail library took up to 100 times as long for these
        assert took_s(to=[f"{name} <u{n}@x.org>" for n in range(100)]) < 3 * body_s


@pytest.mark.parametrize("line", ["\n", "a\n", ".\r\n", "\r", "é\n"], ids=ascii)
def test_a_body_of_very_many_lines_is_not_sent_line_by_line(line):
    text = line * (2**20 // len(line.encode()))
    message, _ = mail(body=text, html=text)
    assert message.as_bytes().count(b"\n") < 80_000  # 2 MiB in lines of 76 characters
    [plain, _] = message.iter_parts()
    assert len(plain.get_content().splitlines()) == len(text.splitlines())


# -- who is to get it ----------------------------------------------------------------------------


def test_only_some_get_it_and_the_headers_name_all():
    message, recipients = mail(
        to=["a@x.org", "Bea <b@x.org>"], cc="c@x.org", bcc="d@x.org", only=["d@x.org", "b@x.org"]
    )
    assert recipients == ["b@x.org", "d@x.org"]
    assert message["To"] == "a@x.org, Bea <b@x.org>"


@pytest.mark.parametrize("only", [[], "x@x.org", ["user@example.com", "x@x.org"], [7], "user"])
def test_only_names_some_of_the_recipients(only):
    with pytest.raises(Reject, match="email: only"):
        mail(only=only)


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
        "",
        "user",
        "@x.org",
        "user@",
        "a@b@c.org",
        "a b@x.org",
        "user@-x.org",
        "user@x..org",
        ".a@x.org",
        "a..b@x.org",
        "user@[127.0.0.1]",
        "a@x.org,b@x.org",
        "a@x.org;b@x.org",
        "<a@x.org> <b@x.org>",
        "a@x.org b@x.org",
        "ü@x.org",
        "u" * 65 + "@x.org",
        7,
        None,
        ["a@x.org"],
        {"to": 1},
        "a@x.org>",
        "a@x.org\t",
    ],
    ids=ascii,
)
def test_what_is_no_address_is_rejected(address):
    with pytest.raises(Reject, match=r"email: "):
        mail(to=[address])


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "to",
        {},
        {"subject": "x"},
        {**GOOD, "subjct": "x"},
        {**GOOD, "subject": 7},
        {**GOOD, "body": ["x"]},
        {**GOOD, "to": []},
        {**GOOD, "id": 7},
        {**GOOD, "subject": "x" * 999},
        {**GOOD, "to": [f"u{i}@x.org" for i in range(101)]},
        {**GOOD, "from": "boss@x.org"},
    ],
    ids=lambda data: ascii(data)[:40],
)
def test_a_task_that_makes_no_sense_is_rejected(data):
    with pytest.raises(Reject, match="email: "):
        compose(data, None)


async def test_without_a_server_it_is_a_dry_run_that_says_so(caplog):
    caplog.set_level("INFO", "taskrig.handlers")
    assert (await run_task(send_email, GOOD)).ok
    assert "dry run, email.host is not set: would send to user@example.com" in caplog.text


@pytest.mark.parametrize(
    "data", [{}, {**GOOD, "to": "nobody"}, {**GOOD, "subject": "x\nBcc: e@x.org"}]
)
async def test_a_mail_that_cannot_be_fails_for_good_and_says_why(data):
    ran = await run_task(send_email, data, type="email")
    assert (ran.outcome, ran.reason, ran.retry_after_s) == ("failed", "rejected", None)
    assert ran.error.startswith("Reject: email: ")


async def test_a_mail_is_made_in_a_thread_and_its_time_counts(monkeypatch):
    threads = []

    def slowly(data, sender):
        threads.append(threading.current_thread())
        time.sleep(0.5)
        return make_mail(data, sender)

    monkeypatch.setattr(handler_module, "make_mail", slowly)
    ticks, task = 0, asyncio.create_task(run_task(send_email, GOOD))
    while not task.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert (await task).ok and ticks > 3  # the loop went on
    assert threads[0] is not threading.main_thread()
