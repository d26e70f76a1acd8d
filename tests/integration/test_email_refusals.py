"""A mail server that takes a mail for some recipients, answers late, or hangs up."""

from __future__ import annotations

import json

import pytest

from taskrig.broker import Amender
from taskrig.config.load import load_config
from taskrig.errors import BrokerUnavailable
from taskrig.handlers import email as handler_module
from taskrig.testing import run_task
from tests.support.mailbox import MAIL, SECTION, send, start_sender
from tests.support.processes import run_to_end
from tests.support.waiting import until

USER, OTHER, GONE, LATER, SOON, STUCK = (
    f"{name}@example.com" for name in ("user", "other", "gone", "later", "soon", "stuck")
)
PLAIN = {"tls": "none"}


def letter(world):
    """Reason and error of the only dead letter, and who is left in its task."""
    [one] = world.dead()
    left = json.loads(one["raw"])["data"].get("only")
    return one["reason"].decode(), one["error"].decode(), left


def in_flight(world):
    """The only task in flight, and who is left in it."""
    [raw] = world.redis.hvals(world.keys.inflight)
    return json.loads(raw)["data"].get("only")


def test_a_recipient_refused_permanently_is_named_by_a_dead_letter_and_others_get_one_mail(
    world, smtp, mailbox
):
    send(world, smtp(), {**MAIL, "to": [USER, GONE], "cc": OTHER}, **PLAIN)
    reason, error, left = letter(world)
    assert (reason, left) == ("rejected", [GONE])
    assert error == "Reject: 2 got it, but not gone@example.com (550 no such user)"
    assert mailbox.got() == {USER: 1, OTHER: 1}


def test_a_recipient_refused_for_now_is_tried_again_alone(world, smtp, mailbox):
    send(world, smtp(), {**MAIL, "to": [USER, SOON]}, **PLAIN)
    assert world.totals()["succeeded"] == 1
    assert mailbox.got() == {USER: 1, SOON: 1}
    assert mailbox.asked == {USER: 1, SOON: 2}
    first, second = mailbox.mails
    assert first.content.splitlines()[:3] == second.content.splitlines()[:3]  # the same headers


def test_where_the_type_has_retries_they_are_used_for_those_alone(world, smtp, mailbox):
    mailbox.full_for = 2
    retries = {"retries": 3, "backoff": "50ms"}
    send(world, smtp(), {**MAIL, "to": [USER, SOON], "bcc": OTHER}, task=retries, **PLAIN)
    assert mailbox.got() == {USER: 1, OTHER: 1, SOON: 1}
    totals = world.totals()
    assert (totals["succeeded"], totals["retried"], totals["failed"]) == (1, 2, 0)


@pytest.mark.parametrize("task", [{}, {"retries": 1, "backoff": "50ms"}], ids=str)
def test_who_is_still_refused_in_the_end_is_named_and_nobody_got_two_mails(
    world, smtp, mailbox, task
):
    send(world, smtp(), {**MAIL, "to": [USER, LATER, GONE], "bcc": SOON}, task=task, **PLAIN)
    reason, error, left = letter(world)
    assert (reason, sorted(left)) == ("error", [GONE, LATER])
    assert "later@example.com (450 try again later)" in error
    assert "gone@example.com (550 no such user)" in error
    assert mailbox.got() == {USER: 1, SOON: 1}


def test_a_requeued_dead_letter_goes_to_those_who_did_not_get_the_mail(world, smtp, mailbox):
    send(world, smtp(), {**MAIL, "to": [USER, f"Gone <{GONE}>"], "bcc": OTHER}, **PLAIN)
    mailbox.open = True
    done = run_to_end(
        "worker",
        "dead",
        "requeue",
        "--type",
        "email",
        "--yes",
        "--redis-url",
        world.url,
        cwd=world.folder,
    )
    assert done.returncode == 0, done.stderr
    until(lambda: mailbox.got() == {USER: 1, OTHER: 1, GONE: 1})
    assert b"To: user@example.com, Gone <gone@example.com>" in mailbox.mails[1].content


def test_a_task_keeps_what_else_its_producer_gave(world, smtp, mailbox):
    raw = (
        '{"trace": [1.50, 1e2], "type": "email", "id": 12345678901234567890123, "data": '
        '{"to": ["user@example.com", "gone@example.com"], "subject": "Gr\\u00fc"}}'
    )
    start_sender(world, smtp(), **PLAIN)
    world.push(raw)
    world.all_settled()
    kept = json.loads(world.dead()[0]["raw"])
    assert kept.pop("data").pop("only") == [GONE]
    given = json.loads(raw)
    given.pop("data")
    assert kept == given


def test_when_the_worker_is_killed_meanwhile_nobody_gets_a_second_mail(world, smtp, mailbox):
    mailbox.full_for = 2
    port = smtp()
    doomed = start_sender(world, port, {"retries": 1, "backoff": "1h"}, **PLAIN)
    world.enqueue("email", **{**MAIL, "to": [USER, SOON]})
    until(lambda: world.redis.zcard(world.keys.delayed) == 1)  # by now it is written down
    doomed.kill()
    [entry] = world.redis.zrange(world.keys.delayed, 0, -1)
    world.redis.zadd(world.keys.delayed, {entry: 0})
    start_sender(world, port, {"retries": 5, "backoff": "50ms"}, **PLAIN)
    world.all_settled()
    assert mailbox.got() == {USER: 1, SOON: 1}


@pytest.mark.parametrize("how", ["kill", "release"])
def test_when_its_run_is_cut_short_nobody_gets_a_second_mail(world, smtp, mailbox, how):
    port = smtp()
    first = start_sender(world, port, **PLAIN)
    world.enqueue("email", **{**MAIL, "to": [USER, STUCK]})
    until(lambda: mailbox.asked[STUCK] == 2, what="it is asked again, and gives no answer")
    assert in_flight(world) == [STUCK]
    if how == "kill":
        first.kill()
    else:
        first.terminate()
        first.logged("draining")
        first.terminate()
        first.ends_well()
    mailbox.open = True
    start_sender(world, port, **PLAIN)
    world.all_settled()
    assert mailbox.got() == {USER: 1, STUCK: 1}


def test_more_recipients_than_the_server_takes_at_once_all_get_one_mail(world, smtp, mailbox):
    to = [USER, *(f"soon{n}@example.com" for n in range(5))]
    send(world, smtp(), {**MAIL, "to": to}, **PLAIN)
    assert mailbox.got() == dict.fromkeys(to, 1)


# -- the whole mail ----------------------------------------------------------------------------


def test_a_mail_refused_after_its_data_reaches_nobody_and_is_retried_or_rejected(
    world, smtp, mailbox
):
    mailbox.answers = ["451 later", "554 spam"]
    retries = {"retries": 2, "backoff": "50ms"}
    send(world, smtp(), {**MAIL, "to": [USER, OTHER]}, task=retries, **PLAIN)
    assert letter(world) == ("rejected", "Reject: the server refused it: 554 spam", None)
    assert world.totals()["retried"] == 1
    mailbox.answers = ["451 later"]
    world.enqueue("email", **{**MAIL, "to": [USER, OTHER, GONE]})
    world.all_settled()
    assert mailbox.got() == {USER: 1, OTHER: 1}


def test_a_server_that_refuses_everybody_only_for_now_is_asked_again_by_retries(
    world, smtp, mailbox
):
    mailbox.full_for = 1
    send(world, smtp(), {**MAIL, "to": [SOON]}, {**MAIL, "to": [GONE, LATER]}, **PLAIN)
    texts = sorted(one["error"].decode() for one in world.dead())
    assert texts == [
        "NotSent: no recipient was accepted: "
        "gone@example.com (550 no such user), later@example.com (450 try again later)",
        "NotSent: no recipient was accepted: soon@example.com (452 too many mails at once)",
    ]
    assert all("only" not in json.loads(one["raw"])["data"] for one in world.dead())
    assert mailbox.asked[SOON] == 1  # nothing is retried that nobody asked to


def test_a_server_that_hangs_up_in_the_mail_fails_the_task(world, strange):
    server = strange(hang_up="in the mail")
    send(world, server.port, **PLAIN)
    reason, error, _ = letter(world)
    assert (reason, server.accepted) == ("error", 0)
    assert error.startswith("SMTPServerDisconnected")


@pytest.mark.parametrize("hang_up", ["after the mail", ""], ids=["hangs up", "does not answer"])
def test_a_mail_is_sent_whatever_the_server_does_after_it(world, strange, hang_up):
    server = strange(hang_up=hang_up)
    send(world, server.port, task={"retries": 1, "backoff": "50ms"}, timeout="5s", **PLAIN)
    assert (world.totals()["succeeded"], server.accepted) == (1, 1)


def test_a_slow_server_has_the_mails_time_and_not_that_much_for_every_answer(world, strange):
    server = strange(answer_after_s=0.4)  # six answers
    send(world, server.port, timeout="1s", **PLAIN)
    assert letter(world)[:2] == ("error", "NotSent: not sent within 1 s (email.timeout)")


# -- what cannot be kept -----------------------------------------------------------------------


@pytest.fixture
def configured(smtp):
    """The handler in this process, told of the server."""
    config = load_config(
        env={},
        overrides={
            "email.host": "localhost",
            "email.port": str(smtp()),
            "email.sender": SECTION["sender"],
            "email.tls": "none",
        },
    )
    handler_module.configure(config)
    yield config
    handler_module._config = None


@pytest.mark.parametrize("trouble", ["Redis is away", "the claim was lost", "too large"])
async def test_where_it_cannot_be_kept_who_is_left_the_task_is_not_run_again(
    configured, monkeypatch, mailbox, trouble
):
    def amend(self, tag, raw):
        if trouble == "Redis is away":
            raise BrokerUnavailable("Redis is away")
        return False

    monkeypatch.setattr(Amender, "amend", amend)
    ran = await run_task(handler_module.send_email, {**MAIL, "to": [USER, LATER]}, type="email")
    assert (ran.outcome, ran.reason) == ("failed", "rejected")
    assert ran.error.startswith("Reject: others got it, but not later@example.com (450 ")
    assert "later@example.com (450 try again later); the task does not say so: " in ran.error
    assert mailbox.got() == {USER: 1}


async def test_an_amended_task_that_would_be_too_large_is_left_as_it_is(configured):
    most = configured.queue.max_item_bytes
    assert Amender(configured).amend("w:1", b"x" * (most + 1)) is False


async def test_a_handler_that_sends_a_mail_of_its_own_does_not_change_its_task(configured, mailbox):
    from taskrig import handler

    @handler("order", retries=1)
    async def order(data):
        await handler_module.send_email({**MAIL, "to": [USER, GONE]})

    ran = await run_task(order, {"to": "somebody"})
    assert (ran.outcome, ran.reason) == ("failed", "rejected")
    assert "it is another task" in ran.error
    assert mailbox.got() == {USER: 1}


# -- settings that contradict each other ---------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "task", "says"),
    [
        ({}, {}, False),
        ({"timeout": "45s"}, {}, True),
        ({}, {"timeout": "10s"}, True),
        ({"timeout": "10s"}, {"timeout": "10s"}, True),
        ({"timeout": "45s"}, {"timeout": "1m"}, False),
    ],
    ids=str,
)
def test_a_type_that_is_stopped_before_its_mail_may_be_sent_is_said(
    tmp_path, caplog, capsys, settings, task, says
):
    config = {"email": {**SECTION, **settings}, "tasks": {"email": task}}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config))
    from taskrig.authoring.registry import load_handlers

    load_handlers(["taskrig.handlers.email"], load_config(path, env={}))
    handler_module._config = None
    assert ("tasks.email.timeout be the longer one" in caplog.text) is says


def test_it_is_said_at_the_start_and_by_the_check(world, smtp):
    worker = start_sender(world, smtp(), {"timeout": "5s"}, **PLAIN)
    said = "a mail may take 20 s (email.timeout), but its task is stopped after 5 s"
    assert worker.log().count(said) == 1
    done = run_to_end("worker", "check", "--config", f"{worker.name}.yaml", cwd=world.folder)
    assert (done.returncode, done.stdout.count(f"note      {said}")) == (0, 1)


def test_a_sender_that_no_mail_can_come_from_is_refused_at_the_start(tmp_path):
    for sender in (
        "=?utf-8?q?x=0D=0ABcc=3A_e?= <a@b.example>",
        "<=?utf-8?q?=0D=0A?=@b.example>",
        "root@[127.0.0.1]",
    ):
        done = run_to_end(
            "worker",
            "check",
            "--set",
            "email.host=h",
            "--set",
            f"email.sender='{sender}'",
            cwd=tmp_path,
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "email.sender: the sender" in done.stderr
