"""Secrets that are hard to hide, and every form in which one of them might show itself."""

import base64
import functools
import hashlib
import json
import re
import urllib.parse

import trustme


@functools.cache
def forms(secret: bytes) -> dict[str, set[bytes]]:
    """What to look for: the secret as it is, and as the usual encoders write it."""
    text = secret.decode()
    found = {
        "raw": {secret},
        "hex": {secret.hex().encode(), secret.hex().upper().encode()},
        "percent": {
            urllib.parse.quote(secret, safe="").encode(),
            re.sub(rb"%[0-9A-F]{2}", lambda found: found[0].lower(), urllib.parse.quote(secret, safe="").encode()),
            urllib.parse.quote_plus(secret).encode(),
            urllib.parse.quote(secret).encode(),
        },
        "json": {json.dumps(text)[1:-1].encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode()},
        "base64": set(),
    }
    found["json"].add(json.dumps(text)[1:-1].replace("/", "\\/").encode())
    for lead in range(3):
        # Behind `lead` bytes, whatever they are; what also depends on the neighbours is cut off.
        encoded = base64.b64encode(b"\0" * lead + secret)
        start = (8 * lead + 5) // 6
        stop = (8 * (lead + len(secret))) // 6
        middle = encoded[start:stop]
        found["base64"] |= {middle, middle.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def search(haystack: bytes, secrets: dict[str, bytes]) -> list[str]:
    """Which secret is there, and in which form."""
    return [
        f"{name} as {form}"
        for name, secret in secrets.items()
        for form, needles in forms(secret).items()
        if any(needle in haystack for needle in needles)
    ]


def tag(number: int) -> str:
    """Makes each secret unlike every other, and unlike anything that is written by chance."""
    return f"cAnArY{number:02d}zQ7"


# 8 KiB that a compressor cannot make small: what expands too much is refused as a bomb.
LONG = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(128))
# For headers: no controls, no blanks inside (a bearer token has none).
IN_HEADERS = [
    "plain-0123456789", "sk_live_51AbCdEfGhIjKl", 'double"quotes"inside', "single'quotes'inside", "back\\slash\\es", "percent%2F%25%zz",
    "slash/es//and", "plus+and+more", "equals==&amp;", "brackets<>[]{}", "dollar$(HOME)`id`", "semi;colon,comma", "ümläut-€-日本", "emoji-😀-🔑",
    "e\u0301combining", "tilde~^|#!?*", "colon:at@host", "\\u0041\\n\\x41", "..%2e/..;/", "x" * 300, "long-" + LONG,
]
# For the query, where blanks may be as well.
IN_QUERY = ["with blank inside", "a+b&c=d#e", "%41%c3%a9 %", "日本 語", "'\" or 1=1 --"]
# For passwords, client secrets and refresh tokens.
ELSEWHERE = ["p@ss:word:with colons", "päss wörd", "semi;quote\"'", "refresh/tok+en==", "aws/Secret+Access/Key40"]
# For children's environments, which take anything but NUL.
IN_ENVIRONMENTS = [
    "line one\nline two\nline three", "carriage\r\nreturn", "tab\tand\x0bvertical", "\x1b[31mred\x1b[0m", "\u202eright-to-left", "{\"json\": \"in json\"}",
    "-----BEGIN NOTHING-----\nAAAA\n-----END NOTHING-----", "y" * 8_192,
]


def pem() -> bytes:
    """A client certificate and its private key."""
    certificate = trustme.CA().issue_cert("canary@example.com")
    return certificate.private_key_and_cert_chain_pem.bytes()


def tagged(texts: list[str], first: int) -> list[str]:
    return [f"{tag(first + number)}{text}{tag(first + number)}" for number, text in enumerate(texts)]
