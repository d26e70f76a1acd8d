"""List items that are no tasks, each with the reason that it is counted under; and some that are.

From what users of other queues report finding in their lists.
"""

from __future__ import annotations

import json

_DEEP = 100_000
_VALID = '{"type":"note","data":{"id":"x"}}'

BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "one space": (b" ", "empty"),
    "white space": (b" \t\r\n ", "empty"),
    "null": (b"null", "not_an_object"),
    "true": (b"true", "not_an_object"),
    "a list": (b"[]", "not_an_object"),
    "a list of a task": (b"[" + _VALID.encode() + b"]", "not_an_object"),
    "a number": (b"1", "not_an_object"),
    "a string": (b'"x"', "not_an_object"),
    "words": (b"not json", "not_json"),
    "single quotes": (b"{'type': 'note'}", "not_json"),
    "truncated": (b'{"type":', "not_json"),
    "truncated in a string": (b'{"type":"no', "not_json"),
    "trailing comma": (b'{"type":"note",}', "not_json"),
    "two objects": (b'{"type":"note"}{"type":"note"}', "not_json"),
    "a control character in a string": (b'{"type":"no\nte"}', "not_json"),
    "NUL bytes": (b"\x00\x00\x00", "not_json"),
    "NUL after a task": (_VALID.encode() + b"\x00", "not_json"),
    "not UTF-8": (b"\x9c\xff\x00\x01", "not_utf8"),
    "Latin-1 in a string": ('{"type":"note","data":"é"}'.encode("latin-1"), "not_utf8"),
    "an encoded surrogate": (b'{"type":"note","data":"\xed\xa0\x80"}', "not_utf8"),
    "an overlong slash": (b'{"type":"note","data":"\xc0\xaf"}', "not_utf8"),
    "UTF-16": (_VALID.encode("utf-16"), "not_utf8"),
    "UTF-16 without a mark": (_VALID.encode("utf-16-le"), "not_json"),
    "a byte order mark": (b"\xef\xbb\xbf" + _VALID.encode(), "bom"),
    "brackets": (b"[" * _DEEP + b"]" * _DEEP, "too_deep"),
    "open brackets": (b"[" * _DEEP, "too_deep"),
    "open braces": (b'{"a":' * _DEEP, "too_deep"),
    "deep data": (b'{"type":"note","data":' + b"[" * 501 + b"]" * 501 + b"}", "too_deep"),
    "5,000 digits": (b'{"type":"note","data":' + b"9" * 5000 + b"}", "bad_number"),
    "NaN": (b'{"type":"note","data":{"x":NaN}}', "bad_number"),
    "Infinity": (b'{"type":"note","data":Infinity}', "bad_number"),
    "-Infinity": (b'{"type":"note","data":-Infinity}', "bad_number"),
    "1e400": (b'{"type":"note","data":1e400}', "bad_number"),
    "-1e400": (b'{"type":"note","data":[-1e400]}', "bad_number"),
    "a lone high surrogate": (rb'{"type":"note","data":"\ud800"}', "lone_surrogate"),
    "a lone low surrogate": (rb'{"type":"note","data":"\udc00x"}', "lone_surrogate"),
    "a lone surrogate in a key": (rb'{"type":"note","\ud800":1}', "lone_surrogate"),
    "a lone surrogate as type": (rb'{"type":"\ud800"}', "lone_surrogate"),
    "an empty object": (b"{}", "type_missing"),
    "no type": (b'{"data":{}}', "type_missing"),
    "an empty type": (b'{"type":""}', "type_empty"),
    "type null": (b'{"type":null}', "type_not_a_string"),
    "a number as type": (b'{"type":5}', "type_not_a_string"),
    "a list as type": (b'{"type":["note"]}', "type_not_a_string"),
    "an object as type": (b'{"type":{"a":1}}', "type_not_a_string"),
    "257 bytes of type": (b'{"type":"' + b"t" * 257 + b'"}', "type_too_long"),
    "129 two-byte letters of type": (f'{{"type":"{"é" * 129}"}}'.encode(), "type_too_long"),
    "1 MB of type": (b'{"type":"' + b"t" * 1_000_000 + b'"}', "type_too_long"),
    "the last key wins": (b'{"type":"note","type":1}', "type_not_a_string"),
}


def of_size(size: int) -> bytes:
    """A task that is well-formed and has `size` bytes."""
    frame = b'{"type":"note","data":"%s"}'
    return frame % (b"x" * (size - len(frame) + 2))


GOOD: dict[str, bytes] = {
    "no data": b'{"type":"note"}',
    "data null": b'{"type":"note","data":null}',
    "data a list": b'{"type":"note","data":[1]}',
    "data a number": b'{"type":"note","data":1.5}',
    "white space around": b' \t\r\n{"type":"note"}\r\n ',
    "other keys": b'{"type":"note","priority":3,"meta":{"a":[]}}',
    "odd values of our optional keys": b'{"type":"note","id":5,"run":{},"enqueued_at":"noon"}',
    "the last type wins": b'{"type":1,"type":"note"}',
    "500 deep": b'{"type":"note","data":' + b"[" * 499 + b"]" * 499 + b"}",
    "many shallow brackets": b'{"type":"note","data":[' + b"[]," * 5000 + b"[]]}",
    "brackets in strings": json.dumps({"type": "note", "data": "[{" * 5000}).encode(),
    "an escaped pair": rb'{"type":"note","data":"\ud83d\ude00"}',
    "raw letters": '{"type":"note","data":"čšř 任务 😀"}'.encode(),
    "escaped NUL": rb'{"type":"note","data":"\u0000"}',
    "4,300 digits": b'{"type":"note","data":' + b"9" * 4300 + b"}",
    "thirty nines": b'{"type":"note","data":' + b"9" * 30 + b"}",
    "a number between 2^63 and 2^64": b'{"type":"note","data":18446744073709551615}',
    "a number under -2^63": b'{"type":"note","data":-9223372036854775809}',
    "a tiny number": b'{"type":"note","data":1e-400}',
    "minus zero": b'{"type":"note","data":-0}',
}
