"""Policies made up by chance, from the specification's vocabulary, over few values so that requests meet them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from tests.differential import drawn_certificates as certificates
from tests.differential.drawn_certificates import ISSUERS, Client, Draw

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HOSTS", "METHODS", "SOURCES", "Drawn", "as_yaml", "policy", "write"]

METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PURGE")
HOSTS: Final = ("a.example", "b.example", "*.a.example", "*.example", "[2001:db8::1]", "10.0.0.1")
SOURCES: Final = (
    *("10.0.0.1", "10.0.0.0/8", "10.20.0.0/16", "0.0.0.0/0", "2001:db8::/32", "2001:db8::1", "::/0", "10.0.0.1/32"),
)
PATHS: Final = (
    *("/**", "/admin/**", "/admin", "/admin/", "/admin/*", "/api/*/users", "/api/**", "/API/**", "/a*n/**", "/", "/*"),
    *(
        "/caf%C3%A9",
        "/caf%c3%a9/**",
        "/\\*",
        "/x%20y",
        "/a;x",
        "/*;x/**",
        "/%F0%9F%98%80",
        "\\*",
        "/stra%C3%9Fe/*",
        "/K/**",
    ),
    *("/admin/users", "/*dm*n", "/api/v1/", "/api/v1/**", "/o%C5%BF/**"),
)
PATH_EXPRESSIONS: Final = ("/admin(/.*)?", "/api/v[0-9]+/.*", "/(ADMIN|api)/.+", "/caf.*", "\\*", ".*", "/[a-z]+")
TEXT_EXPRESSIONS: Final = (
    "ops|dev",
    "[a-z]+",
    "[A-Z]+",
    "db-[0-9]+",
    "db-\\d+",
    ".*",
    "o.p s",
    "stra(ß|ss)e",
    "ﬁn",
    ".s",
    "k",
    "[^o]+",
    "[^a-z]+",
    "\\S+",
    "..",
    " ops",
)
TLS: Final = ("TLSv1.2", "TLSv1.3")
STATUSES: Final = ("400", "401", "403", "404", "405", "410", "429", "503")
DAYS: Final = ("mon", "fri", "sat", "mon-fri", "fri-mon", "sun", "sat-sun")
HOURS: Final = (
    "08:00-19:00",
    "22:00-06:00",
    "00:00-24:00",
    "00:00-00:01",
    "23:59-24:00",
    "02:00-03:00",
    "19:00-08:00",
    "01:30-02:30",
)
ZONES: Final = ("Europe/Paris", "UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")
EXPIRIES: Final = ("2026-11-20T09:00:00Z", "2026-11-20T10:00:00+01:00", "2027-06-01T00:00:00Z", "2026-01-01T00:00:00Z")
MODES: Final = ("deny", "allow")


class Drawn:
    """A policy in the making: its documents, and what in them may be referred to."""

    def __init__(self, draw: Draw, clients: tuple[Client, ...]) -> None:
        self.draw = draw
        #: Those that the policy is about, more than about others.
        self.clients = tuple(draw.sample(clients, k=6))
        self.files: dict[str, str] = {}
        self.document: dict[str, Any] = {"apiVersion": "authz/v1"}
        self.issuers = tuple(draw.sample(ISSUERS, k=draw.choice((1, 2, 3, 3, 3, 3, 3))))
        self.lists: list[str] = []
        self.names: list[str] = []
        self.switches: list[str] = []
        self.used: set[str] = set()

    def one_or_more(self, make: Any, most: int = 3) -> Any:
        """Make one, or a list."""
        return make() if self.draw.often(0.6) else [make() for _ in range(self.draw.randint(1, most))]

    # -- identities ----------------------------------------------------------------------------------------------

    def text_pattern(self) -> Any:
        """A pattern of text, sometimes an expression."""
        if self.draw.often(0.12):
            return {"re": self.draw.choice(TEXT_EXPRESSIONS)}
        said = [value for _, value in self.draw.choice(self.clients).certificate.subject if value.isprintable()]
        text = self.draw.choice(said) if said and self.draw.often(0.7) else self.draw.choice(certificates.TEXTS)
        pieces = [piece.replace("*", r"\*") for piece in re.split("(.)", text) if piece]
        if self.draw.often(0.35) and text:
            at = self.draw.randrange(len(pieces) + 1)
            pieces[at : at + self.draw.choice((0, 1, 2))] = ["*"]
        return "".join(pieces)

    def text(self) -> Any:
        """What a text attribute must say."""
        if self.draw.often(0.25):
            patterns = [self.text_pattern() for _ in range(self.draw.randint(1, 3))]
            return {self.draw.choice(("any_of", "all_of", "all_of")): patterns}
        return self.one_or_more(self.text_pattern)

    def dns(self) -> str:
        """A DNS pattern."""
        return self.draw.choice(("a.example", "*.a.example", "A.Example", "*.example", "k.example", r"\*.a.example"))

    def uri(self) -> str:
        """A URI pattern."""
        return self.draw.choice(
            (
                *("spiffe://prod.example/ns/a/sa/*", "spiffe://prod.example/ns/*/sa/b", "spiffe://prod.example/ns/**"),
                *("spiffe://prod.example/ns/a", "spiffe://prod.example/**", "spiffe://prod.example/ns/A/**", "urn:a:b"),
                *(
                    "SPIFFE://Prod.Example/ns/a",
                    "https://prod.example/ns/*",
                    "spiffe://prod.example",
                    "spiffe://prod.example/ns/*",
                ),
            )
        )

    def email(self) -> str:
        """An e-mail pattern."""
        return self.draw.choice(("bob@x.example", "*@x.example", "Bob@X.example", "*@*.example", "b*@y.example"))

    def digest(self, key: str) -> str:
        """A digest, of a certificate there is or of none; written as people write them."""
        known = getattr(self.draw.choice(self.clients).certificate, key)
        digest = known if self.draw.often(0.6) else self.draw.choice(("aa", "bb")) * (20 if key == "sha1" else 32)
        return digest.upper() if self.draw.often(0.2) else digest

    def alternative(self) -> dict[str, Any]:
        """One map of an identity."""
        draw = self.draw
        issuer = draw.choice(self.issuers) if draw.often(0.9) else "any"
        found: dict[str, Any] = {"issuer": issuer}
        kinds: dict[str, Any] = {
            "cn": self.text,
            "ou": self.text,
            "o": self.text,
            "subject": lambda: {draw.choice(("L", "UID", "1.2.3.4", "OU", "2.5.4.3")): self.text()},
            "dns_san": lambda: self.one_or_more(self.dns),
            "uri_san": lambda: self.one_or_more(self.uri),
            "email_san": lambda: self.one_or_more(self.email),
            "ip_san": lambda: self.one_or_more(
                lambda: draw.choice(("10.0.0.1", "2001:db8::1", "10.0.0.2", "10.0.0.0/8"))
            ),
            "fingerprint": lambda: self.one_or_more(lambda: self.digest("fingerprint")),
            "spki": lambda: self.one_or_more(lambda: self.digest("spki")),
            "eku": lambda: self.one_or_more(lambda: draw.choice(("clientAuth", "codeSigning", "1.3.6.1.5.5.7.3.2"))),
            "policy_oid": lambda: self.one_or_more(lambda: draw.choice(("1.2.3", "1.2.3.4", "2.5.29.32.0"))),
            "min_key_bits": lambda: draw.choice(("2048", "3072", "3073", "7680", "15360")),
        }
        if self.lists:
            kinds["in_list"] = lambda: draw.choice(self.lists)
        if issuer != "any":
            kinds["serial"] = lambda: self.one_or_more(lambda: draw.choice(("1", "01", "ff", "FF", "1000")))
        weights = [4 if key in {"cn", "ou", "in_list"} else 2 if key.endswith("_san") else 1 for key in kinds]
        for key in draw.choices(list(kinds), weights, k=draw.choice((0, 1, 1, 1, 2, 2))):
            found[key] = kinds[key]()
        return found

    def identity(self) -> Any:
        """An identity, sometimes several maps."""
        return self.alternative() if self.draw.often(0.85) else [self.alternative() for _ in range(2)]

    def who(self) -> Any:
        """A `who`."""
        draw = self.draw

        def one() -> Any:
            if draw.often(0.18):
                return draw.choice(("any_certificate", "any_certificate", "anonymous"))
            if draw.often(0.15) or not self.names:
                return self.alternative()
            name = draw.choice(self.names)
            self.used.add(name)
            return name

        return self.one_or_more(one)

    # -- requests ------------------------------------------------------------------------------------------------

    def path(self) -> Any:
        """A path pattern, sometimes an expression."""
        return {"re": self.draw.choice(PATH_EXPRESSIONS)} if self.draw.often(0.08) else self.draw.choice(PATHS)

    def header(self) -> Any:
        """A header condition."""
        names = self.draw.choices(("x-team", "X-Role"), k=1 if self.draw.often(0.7) else 2)
        found = [{name: self.one_or_more(self.text_pattern)} for name in names]
        return found if len(found) > 1 else found[0]

    def request(self) -> dict[str, Any]:
        """What `request` holds."""
        draw = self.draw
        kinds: dict[str, Any] = {
            "path": lambda: self.one_or_more(self.path),
            "method": lambda: self.one_or_more(lambda: draw.choice((*METHODS, "read", "write", "read", "write"))),
            "host": lambda: self.one_or_more(lambda: draw.choice(HOSTS)),
            "sni": lambda: self.one_or_more(lambda: draw.choice(HOSTS[:4])),
            "header": self.header,
        }
        keys = draw.choices(list(kinds), (6, 4, 1, 1, 1), k=draw.choice((1, 1, 2, 3)))
        return {key: kinds[key]() for key in keys}

    def window(self) -> dict[str, Any]:
        """A time window."""
        draw = self.draw
        found: dict[str, Any] = {"tz": draw.choice(ZONES)}
        keys = draw.choice((("days",), ("hours",), ("days", "hours"), ("days", "hours")))
        if "days" in keys:
            found["days"] = self.one_or_more(lambda: draw.choice(DAYS))
        if "hours" in keys:
            found["hours"] = draw.choice(HOURS)
        return found

    def when(self) -> dict[str, Any]:
        """What `when` holds."""
        draw = self.draw
        kinds: dict[str, Any] = {
            "source": lambda: self.one_or_more(lambda: draw.choice(SOURCES)),
            "time": self.window,
            "tls": lambda: self.one_or_more(lambda: draw.choice(TLS)),
        }
        return {key: kinds[key]() for key in draw.choices(list(kinds), k=draw.choice((1, 1, 2)))}

    # -- rules ---------------------------------------------------------------------------------------------------

    def rule(self, number: int) -> dict[str, Any]:
        """A rule."""
        draw = self.draw
        effect = draw.choice(("allow", "allow", "allow", "deny", "require"))
        rule: dict[str, Any] = {"id": f"r{number}", "effect": effect}
        if effect == "allow" or draw.often(0.6):
            rule["who"] = self.who()
        if effect == "require" or draw.often(0.7):
            rule["request"] = self.request()
        if draw.often(0.25) or (effect == "require" and "who" not in rule) or set(rule) == {"id", "effect"}:
            rule["when"] = self.when()
        if effect == "deny" and draw.often(0.5):
            rule["unless"] = self.exception()
        answers = {"status": draw.choice(STATUSES), "reason": draw.choice(("read_only", "out_of_hours"))}
        rule |= {key: value for key, value in answers.items() if effect != "allow" and draw.often(0.3)}
        if draw.often(0.08):
            rule |= {"mode": "shadow", "shadow_until": "2027-01-15"}
        if self.switches and draw.often(0.3):
            rule["active_during" if effect == "allow" else "overridable_by"] = draw.choice(self.switches)
        return rule

    def exception(self) -> dict[str, Any]:
        """What `unless` holds."""
        draw = self.draw
        found = {**(self.request() if draw.often(0.7) else {}), **(self.when() if draw.often(0.4) else {})}
        return {**found, "who": self.who()} if not found or draw.often(0.3) else found

    def route(self, number: int) -> dict[str, Any]:
        """A route."""
        route: dict[str, Any] = {"backend": f"backend_{number}"}
        if self.draw.often(0.6):
            route["who"] = self.who()
        if self.draw.often(0.6):
            route["request"] = self.request()
        return route

    def revocation(self) -> dict[str, Any]:
        """How an issuer's certificates are checked."""
        draw = self.draw
        if draw.often(0.5):
            return {"none": "a test"}

        def modes() -> dict[str, Any]:
            return {key: draw.choice(MODES) for key in ("on_unknown", "on_failure") if draw.often(0.5)}

        found: dict[str, Any] = {}
        if draw.often(0.7):
            found["crl"] = {"files": ["crl/corp.crl"], **modes()}
        if not found or draw.often(0.6):
            found["ocsp"] = {"responder": "http://127.0.0.1:1", **modes()}
        if draw.often(0.4):
            found["combine"] = draw.choice(("any_revoked", "first_answer"))
        return found

    def issuer(self, name: str) -> dict[str, Any]:
        """An issuer."""
        draw = self.draw
        found: dict[str, Any] = {"ca": f"trust/{name}.pem", "revocation": self.revocation()}
        odd: dict[str, Any] = {
            "max_lifetime": draw.choice(("1h", "1d", "3600s", "60m")),
            "eku": draw.choice(("any", "client")),
            "allow_multiple_cn": draw.choice(("true", "false")),
            "allow_weak": draw.choice(("true", "false")),
        }
        found |= {key: value for key, value in odd.items() if draw.often(0.06)}
        if name == "spire" and draw.often(0.5):
            found["trust_domain"] = "prod.example"
        return found

    def list(self, name: str) -> dict[str, Any]:
        """A list and its file."""
        draw = self.draw
        source: dict[str, Any] = {}
        with_sha1 = draw.often(0.3)
        if with_sha1:
            source["accept_sha1_until"] = draw.choice(("2026-11-20", "2026-11-21", "2027-06-01", "2026-01-01"))
        if draw.often(0.4):
            lines = ["# fingerprints", ""]
            for _ in range(draw.randint(0, 4)):
                digest = self.digest("sha1" if with_sha1 and draw.often(0.4) else "fingerprint")
                lines.append(self.as_people_write(digest) + draw.choice(("", "  # a comment", " ")))
            text = draw.choice(("\n", "\r\n")).join(lines)
            self.files[f"lists/{name}.txt"] = draw.choice(("", "\ufeff")) + text
            return {"file": f"lists/{name}.txt", **source}
        permanent = draw.often(0.3)
        entries = [self.entry(with_sha1=with_sha1, permanent=permanent) for _ in range(draw.randint(0, 4))]
        document: dict[str, Any] = {"apiVersion": "authz/v1", "kind": "list", "entries": entries}
        if permanent:
            document["permanent"] = "true"
        self.files[f"lists/{name}.yaml"] = as_yaml(document)
        return {"file": f"lists/{name}.yaml", **source}

    def as_people_write(self, digest: str) -> str:
        """Colons, blanks, upper case, a prefix."""
        style = self.draw.choice(("plain", "plain", "colons", "blanks", "prefix"))
        pairs = [digest[i : i + 2] for i in range(0, len(digest), 2)]
        if style == "colons":
            return ":".join(pairs).upper()
        if style == "blanks":
            return " ".join(pairs)
        if style == "prefix" and len(digest) == 64:
            return "SHA256 Fingerprint=" + ":".join(pairs)
        return digest

    def entry(self, *, with_sha1: bool, permanent: bool) -> dict[str, Any]:
        """An entry of a rich list."""
        draw = self.draw
        kinds: dict[str, Any] = {
            "sha256": lambda: {"sha256": self.digest("fingerprint")},
            "spki": lambda: {"spki_sha256": self.digest("spki")},
            "serial": lambda: {"issuer": draw.choice(self.issuers), "serial": draw.choice(("1", "ff", "1000"))},
        }
        if with_sha1:
            kinds["sha1"] = lambda: {"sha1": self.digest("sha1")}
        entry: dict[str, Any] = kinds[draw.choice(list(kinds))]()
        entry |= {"owner": "ops", "comment": "a device", "ticket": "X-1"}
        if not permanent or draw.often(0.3):
            entry["expires"] = draw.choice(EXPIRIES)
        if "sha256" in entry and draw.often(0.3):
            entry["next"] = self.digest("fingerprint")
        return entry

    def defaults(self) -> dict[str, Any]:
        """Defaults."""
        draw = self.draw
        found: dict[str, Any] = {
            "mode": draw.choice(("enforce", "enforce", "shadow")),
            "no_certificate": draw.choice(("deny", "anonymous")),
            "path_on_ambiguity": draw.choice(("reject", "normalise")),
            "path_parameters": draw.choice(("deny", "allow")),
            "sni_mismatch": draw.choice(("deny", "allow")),
            "deny_status": draw.choice(STATUSES),
        }
        return {key: value for key, value in found.items() if draw.often(0.35)}


def policy(draw: Draw, clients: tuple[Client, ...]) -> Drawn:
    """Make up a policy that the specification accepts."""
    drawn = Drawn(draw, clients)
    document = drawn.document
    document["defaults"] = drawn.defaults()
    if not document["defaults"]:
        del document["defaults"]
    document["issuers"] = {name: drawn.issuer(name) for name in drawn.issuers}
    lists = {name: drawn.list(name) for name in ("some", "others")[: draw.choice((0, 1, 2))]}
    drawn.lists = list(lists)
    names = [f"i{number}" for number in range(draw.randint(1, 4))]
    identities = {name: drawn.identity() for name in names}
    drawn.names = names
    drawn.switches = ["incident", "storm"][: draw.choice((0, 1, 2))]
    if drawn.switches:
        document["break_glass"] = {name: {"max_duration": "2h", "ticket": "INC-[0-9]+"} for name in drawn.switches}
    if lists:
        document["lists"] = lists
    document["identities"] = identities
    document["rules"] = [drawn.rule(number) for number in range(draw.randint(1, 6))]
    if draw.often(0.7):
        document["routes"] = [drawn.route(number) for number in range(draw.randint(1, 3))]
    unused = [name for name in names if name not in drawn.used]
    if unused:
        document["rules"].append({"id": "last", "effect": draw.choice(("allow", "allow", "deny")), "who": unused})
    return drawn


def as_yaml(value: Any) -> str:
    """Write YAML that needs no character outside ASCII."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return "".join(c if " " <= c <= "~" or c == "\n" else f"\\U{ord(c):08x}" for c in text)


def write(drawn: Drawn, directory: Path) -> None:
    """Write a policy directory."""
    for name, pem in certificates.authority_files().items():
        (directory / "trust").mkdir(parents=True, exist_ok=True)
        (directory / "trust" / f"{name}.pem").write_bytes(pem)
    for name, text in {**drawn.files, "policy.yaml": as_yaml(drawn.document)}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(text.encode())
