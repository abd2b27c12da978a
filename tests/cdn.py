"""A CDN in front of a bucket: a reverse proxy that gives objects only for links with a signature as CloudFront checks it."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.buckets import Answer, Asked, Between, BucketServer, standing_between

KEY_ID = "K2JCJMDEHXQW5F"


@dataclass(slots=True)
class FakeCdn:
    """url: its address. private_key: of the pair that it trusts. is_open: it gives everything to everybody, as one without restriction."""

    between: Between
    server: BucketServer
    bucket: str
    pair: rsa.RSAPrivateKey
    is_open: bool = False

    @property
    def url(self) -> str:
        return self.between.url

    @property
    def private_key(self) -> str:
        form = serialization.PrivateFormat.PKCS8
        return self.pair.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()

    def pass_on(self, asked: Asked) -> Asked | Answer:
        parts = urlsplit(asked.path)
        refused = Answer(403, (("Content-Type", "text/xml"),), b"<Error><Code>MissingKey</Code></Error>")
        if asked.method != "OPTIONS" and not self.is_open and not self._is_signed(parts.path, parse_qs(parts.query)):
            return refused
        # It asks the bucket with rights of its own (origin access control), and passes the query on to nobody.
        call = "head_object" if asked.method == "HEAD" else "get_object"
        own = self.server.client.generate_presigned_url(call, Params={"Bucket": self.bucket, "Key": parts.path.removeprefix("/")})
        return replace(asked, path=own.removeprefix(self.server.url))

    def _is_signed(self, path: str, query: dict[str, list[str]]) -> bool:
        if query.keys() != {"Expires", "Signature", "Key-Pair-Id"} or query["Key-Pair-Id"] != [KEY_ID]:
            return False
        until, written = query["Expires"][0], query["Signature"][0]
        signature = base64.b64decode(written.replace("-", "+").replace("_", "=").replace("~", "/"))
        policy = f'{{"Statement":[{{"Resource":"{self.url}{path}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{until}}}}}}}]}}'
        try:
            self.pair.public_key().verify(signature, policy.encode(), padding.PKCS1v15(), hashes.SHA1())
        except InvalidSignature:
            return False
        return int(until) > time.time()


@contextmanager
def cdn_before(server: BucketServer, bucket: str) -> Iterator[FakeCdn]:
    with standing_between(server) as between:
        cdn = FakeCdn(between, server, bucket, rsa.generate_private_key(public_exponent=65537, key_size=2048))
        between.before = cdn.pass_on
        yield cdn
