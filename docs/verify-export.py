#!/usr/bin/env python3
"""Checks an export of AgentWorks without any of its code: verify-export.py FILE [KEY]. Needs `zstd`. See evidence.md."""
import base64, hashlib, json, subprocess, sys, tarfile
from datetime import datetime, timezone

# Ed25519 (RFC 8032), verification only.
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
def recover(y, sign):
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P)
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P: x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - x2) % P == 0, "no point"
    return P - x if x & 1 != sign else x
def add(a, b):
    A, B, C, E = (a[1]-a[0])*(b[1]-b[0]) % P, (a[1]+a[0])*(b[1]+b[0]) % P, 2*a[3]*b[3]*D % P, 2*a[2]*b[2] % P
    e, f, g, h = B-A, E-C, E+C, B+A
    return e*f % P, g*h % P, f*g % P, e*h % P
def times(n, a):
    r = (0, 1, 1, 0)
    while n: r, a, n = add(r, a) if n & 1 else r, add(a, a), n >> 1
    return r
def point(b):
    n = int.from_bytes(b, "little"); y = n & (2**255 - 1); x = recover(y, n >> 255)
    return x, y, 1, x * y % P
BASE = point(bytes([0x58]) + bytes([0x66]) * 31)
def signed(key, text, sig):
    k = int.from_bytes(hashlib.sha512(sig[:32] + key + text).digest(), "little") % L
    a, b = times(int.from_bytes(sig[32:], "little"), BASE), add(point(sig[:32]), times(k, point(key)))
    return (a[0]*b[2] - b[0]*a[2]) % P == 0 and (a[1]*b[2] - b[1]*a[2]) % P == 0

sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
def note(text, keys):
    """The text of a signed note, and those of the keys that signed it."""
    body, tail = text.rsplit("\n\n", 1); body += "\n"; by = []
    for line in tail.splitlines():
        _, name, sig = line.split(" "); sig = base64.b64decode(sig)
        by += [k for k in keys if sha(name.encode(), b"\n\x01", k)[:4] == sig[:4] and signed(k, body.encode(), sig[4:])]
    return body.splitlines(), by
def uuid(text):
    if "_" not in text: return bytes.fromhex(text.replace("-", ""))
    n = 0
    for c in text.split("_")[1]: n = n << 5 | "0123456789abcdefghjkmnpqrstvwxyz".index(c)
    return n.to_bytes(16, "big")
def micros(text):
    d = datetime.fromisoformat(text.replace("Z", "+00:00")) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (d.days * 86400 + d.seconds) * 10**6 + d.microseconds
def digest(line):
    e = json.loads(line); num = lambda n, size: n.to_bytes(size, "big", signed=True)
    opt = lambda v, f: None if v is None else f(v)
    fields = [b"agentworks/event/1", uuid(e["tenant"]), uuid(e["id"]), e["aggregate_type"].encode(), uuid(e["stream"]),
        num(e["version"], 8), e["event_type"].encode(), num(e["event_version"], 2), e["actor"].encode(), uuid(e["command"]),
        uuid(e["correlation"]), opt(e["causation"], uuid), opt(e["traceparent"], str.encode), num(micros(e["occurred_at"]), 8),
        line[line.index('"payload":') + 10:-1].encode(), b"{}"]
    return e, sha(*(b"\xff" * 4 if f is None else len(f).to_bytes(4, "big") + f for f in fields))
def root(tree):
    r = None
    for h, _ in reversed(tree): r = h if r is None else sha(b"\1", h, r)
    return r

raw = subprocess.run(["zstd", "-dcq", sys.argv[1]], stdout=subprocess.PIPE, check=True).stdout
import io
tar = tarfile.open(fileobj=io.BytesIO(raw)); files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
said = files["about/keys.note"].decode(); keys = [base64.b64decode(k) for k in said.split("\n\n")[0].splitlines()[1:]]
assert set(note(said, keys)[1]) == set(keys), "about/keys.note is not signed by all of its keys"
assert len(sys.argv) < 3 or base64.b64decode(sys.argv[2]) in keys, "signed with unknown keys"
about = json.loads(files["about/manifest.json"]); tree, streams, index, last, proven = [], {}, 0, 0, 0
for name in sorted(n for n in files if n.endswith("/events.jsonl")):
    chunk = name[:-len("events.jsonl")]; records = files[chunk + "digests.bin"]
    due = [note(json.loads(l), keys) for l in files[chunk + "checkpoints.jsonl"].decode().splitlines()]
    assert len(files[name].splitlines()) * 48 == len(records), f"{name}: not as many events as digests"
    for nth, line in enumerate(files[name].decode().split("\n")[:-1]):
        e, d = digest(line); where = f"index {index}, position {e['position']}, event {e['id']}"
        version, chain = streams.get(e["stream"], (0, bytes(32)))
        assert e["tenant"] == about["tenant"], f"foreign: {where}"
        assert d.hex() == e["digest"] and d == records[nth*48:nth*48+32], f"digest: {where}"
        assert e["version"] == version + 1 and sha(chain, d).hex() == e["chain"], f"chain: {where}"
        numbers = [int.from_bytes(records[nth*48+at:nth*48+at+8], "big", signed=True) for at in (32, 40)]
        assert numbers == [e["position"], micros(e["recorded_at"])] and e["position"] > last, f"position: {where}"
        streams[e["stream"]], last, index = (e["version"], sha(chain, d)), e["position"], index + 1
        tree.append((sha(b"\0", d), 1))
        while len(tree) > 1 and tree[-1][1] == tree[-2][1]: (l, n), (r, _) = tree[-2:]; tree[-2:] = [(sha(b"\1", l, r), 2 * n)]
        if due and int(due[0][0][1]) == index:
            (lines, by), due = due[0], due[1:]
            assert by and lines[0] == f"{about['installation']}/{about['tenant']}", f"unknown key or log: checkpoint of {index}"
            assert base64.b64decode(lines[2]) == root(tree), f"events {proven} to {index - 1} are not what was signed"
            proven = index
    assert not due, f"{name}: events are missing"
covered = "".join(f"{sha(files[n]).hex()} {n}\n" for n in sorted(files) if not n.endswith("/events.jsonl") and n != "seal.note")
lines, by = note(files["seal.note"].decode(), keys)
assert by and lines == ["agentworks/seal/1", str(index)] + covered.splitlines(), "seal.note: something else was sealed"
assert index == about["events"] == proven, "not all events are there, or under a checkpoint"
print(f"right: {index} events of {about['tenant']}, signed by {', '.join(base64.b64encode(k).decode() for k in keys)}")
