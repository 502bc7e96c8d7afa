#!/usr/bin/env python3
"""Verifies a file of `orrery ledger export` without Orrery: python3 verify_ledger.py FILE --key PUBLIC

Needs Python 3.8 or later and nothing else. Exit codes: 0 the file is whole and signed with the key, 1 it is not,
2 the arguments are wrong or the file cannot be read. The key is 64 hexadecimal digits, as `orrery ledger key` prints
it; take it from where the operator published it, never from the file.
"""

import argparse
import hashlib
import json
import re
import sys

LINE = re.compile(rb'\{"hash":"([0-9a-f]{64})","entry":(\{.*?\})(?:,"signature":"([0-9a-f]{128})")?\}\n')
DOMAIN = b"orrery-ledger-1:"
# More than the largest entry; a file of other bytes is not read whole.
LINE_BYTES_MAX = 1 << 20

# Ed25519 (RFC 8032, section 6): points are (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(one, other):
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(number, point):
    product = (0, 1, 1, 0)
    while number:
        if number & 1:
            product = add(product, point)
        point = add(point, point)
        number >>= 1
    return product


def equal(one, other):
    return (one[0] * other[2] - other[0] * one[2]) % P == 0 and (one[1] * other[2] - other[1] * one[2]) % P == 0


def point_of(data):
    """The point of 32 bytes; None where they are none."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public, message, signature):
    key, start = point_of(public), point_of(signature[:32])
    number = int.from_bytes(signature[32:], "little")
    if key is None or start is None or number >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    return equal(multiply(number, BASE), add(start, multiply(challenge, key)))


class Broken(Exception):
    pass


def number_of(line):
    """The number that a line says it has; None where it says none."""
    try:
        return json.loads(line)["entry"]["n"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def misplaced(line, wanted, rest):
    """What happened where another line than the next one is found."""
    found = number_of(line)
    if not isinstance(found, int) or found == wanted:
        return f"line {wanted} was changed: it is not as it was written"
    if found < wanted or any(number_of(later) == wanted for later in rest):
        return f"line {wanted} is out of order: line {found} is in its place"
    return f"line {wanted} is missing: line {found} is in its place"


def verify(file, public):
    """The header and the end of a good file."""
    lines = iter(lambda: file.readline(LINE_BYTES_MAX), b"")
    before, header, wanted = "0" * 64, None, 0
    for line in lines:
        if not line.endswith(b"\n"):
            raise Broken(f"line {wanted} is cut off, and the signed end is missing")
        match = LINE.fullmatch(line)
        if match is None or number_of(line) != wanted:
            raise Broken(misplaced(line, wanted, lines))
        said, entry, signature = match[1].decode(), match[2], match[3]
        before = hashlib.sha256(before.encode() + entry).hexdigest()
        if said != before:
            raise Broken(f"line {wanted} was changed: its hash is another one")
        fields = json.loads(entry)
        if header is None:
            header = fields
            if fields.get("ledger") != 1:
                raise Broken("line 0 is no header of a ledger of version 1")
            if fields.get("public_key") != public.hex():
                raise Broken(f"line 0 names another key than yours: {fields.get('public_key')}")
        if signature is not None:
            if next(lines, None) is not None:
                raise Broken(f"line {wanted + 1} comes after the end")
            if fields.get("entries") != wanted - 1:
                raise Broken(f"line {wanted} says that there are {fields.get('entries')} entries")
            if not is_signed(public, DOMAIN + before.encode(), bytes.fromhex(signature.decode())):
                raise Broken(f"line {wanted} is not signed with your key: lines were written again, or the signature was")
            return header, fields
        wanted += 1
    raise Broken(f"line {wanted} is missing, and the signed end with it: the file was cut off")


def main():
    arguments = argparse.ArgumentParser(description="Verifies a file of `orrery ledger export`.")
    arguments.add_argument("file")
    arguments.add_argument("--key", required=True, help="the public key: 64 hexadecimal digits")
    arguments = arguments.parse_args()
    if not re.fullmatch("[0-9a-f]{64}", arguments.key):
        print("a public key has 64 hexadecimal digits", file=sys.stderr)
        return 2
    try:
        with open(arguments.file, "rb") as file:
            header, end = verify(file, bytes.fromhex(arguments.key))
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    except Broken as finding:
        print(f"BROKEN: {finding}")
        return 1
    span = f"{header['since'] or 'the beginning'} to {header['until'] or header['exported_at']}"
    what = f"task {header['task']}" if header["task"] else "all tasks"
    print(f"good: {end['entries']} entries of installation {header['installation']}, {what}, from {span}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
