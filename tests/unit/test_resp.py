"""Commands are encoded exactly as a general client encodes them."""

from __future__ import annotations

import pytest
from redis.connection import Connection

from taskrig.broker.resp import Encoded, encode_command

PARTS = ("EVALSHA", b"\x00\xff\r\n", 0, -7, 1_000_000_000_000, 2.5, "", "schlüssel", "{q}:x")


def test_a_command_is_encoded_as_redis_py_encodes_it() -> None:
    expected = b"".join(Connection().pack_command(*PARTS))

    assert encode_command(PARTS) == expected


def test_encoded_arguments_may_stand_anywhere() -> None:
    tags = [f"0a1b2c3d4e:{n}" for n in (1, 22, 333)]
    expected = b"".join(Connection().pack_command("X", *PARTS, 5, *tags, "end"))

    found = encode_command(["X", Encoded.of(*PARTS), 5, Encoded.of_ascii(tags), "end"])

    assert found == expected


@pytest.mark.parametrize("odd", [None, True, ["x"]])
def test_an_argument_that_redis_has_no_type_for_is_refused(odd: object) -> None:
    with pytest.raises(TypeError):
        encode_command(["SET", odd])
