"""Lists from other forms: what is taken, and the name and reason of every line that is not."""

from __future__ import annotations

import pytest

from spoa.listimport import detect_format, read_entries
from spoa.listindex import NEVER, Kind
from tests.pki import CA

A, B = "aa" * 32, "bb" * 32
COLONS = ":".join(["AA"] * 32)


def taken(content: str, kind: str = "") -> list[tuple[int, str, str]]:
    return [(line, one.key.text, one.comment) for line, one in read_entries(content.encode(), kind).entries]


def refused(content: str, kind: str = "") -> list[tuple[int, str]]:
    return [(one.line, one.why) for one in read_entries(content.encode(), kind).refusals]


class TestCertificates:
    def test_every_certificate_of_a_pem_file_is_taken_with_its_subject_and_end(self) -> None:
        ca = CA("corp")
        alice, bob = ca.issue("alice"), ca.issue("bob")
        found = read_entries(b"text\n" + alice.pem + b"more\n" + bob.pem)
        assert [(line, one.comment) for line, one in found.entries] == [
            (2, "CN=alice"),
            (3 + alice.pem.count(b"\n"), "CN=bob"),
        ]
        assert found.entries[0][1].expires == alice.certificate.not_valid_after_utc.timestamp()
        assert found.refusals == []

    def test_der_is_taken(self) -> None:
        assert [line for line, _ in read_entries(CA("corp").issue("alice").der).entries] == [0]

    def test_a_ca_a_damaged_block_and_other_blocks_are_named_and_keys_passed_by(self) -> None:
        ca = CA("corp")
        content = (
            ca.pem
            + b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"
            + b"-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n"
            + b"-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n"
        )
        lines = ca.pem.count(b"\n")
        found = read_entries(content)
        assert found.entries == []
        assert [(one.line, one.why.split()[0]) for one in found.refusals] == [
            (1, "a"),
            (lines + 1, "not"),
            (lines + 4, "-----BEGIN"),
        ]

    def test_what_can_t_be_read_as_a_certificate_is_named(self) -> None:
        found = read_entries(b"\x30\x03\x02\x01\x01")
        assert [one.line for one in found.refusals] == [0]


class TestLines:
    def test_fingerprints_are_taken_as_haproxy_and_openssl_write_them(self) -> None:
        content = f"# an acl file\n{A.upper()}\n\nSHA256 Fingerprint={':'.join(['BB'] * 32)}\n{'cc' * 32} backend_1\n"
        assert taken(content) == [
            (2, f"sha256:{A}", ""),
            (4, f"sha256:{B}", ""),
            (5, f"sha256:{'cc' * 32}", "backend_1"),
        ]
        assert taken(f"{A}  # dock 4\n") == [(1, f"sha256:{A}", "dock 4")]

    def test_what_openssl_prints_beside_a_fingerprint_goes_with_it(self) -> None:
        content = (
            f"sha256 Fingerprint={COLONS}\nsubject=CN = alice\nnotBefore=Nov  1 00:00:00 2026 GMT\n"
            f"notAfter=Dec  1 00:00:00 2027 GMT\nsha256 Fingerprint={':'.join(['BB'] * 32)}\nsubject=CN = bob\n"
        )
        found = read_entries(content.encode())
        assert [(one.comment, one.expires) for _, one in found.entries] == [
            ("CN = alice", 1827619200),
            ("CN = bob", NEVER),
        ]

    def test_every_line_that_is_no_sha256_is_named(self) -> None:
        content = f"{A}\nxyz\n{'12' * 20}\n{A[:-1]}\nsubject=CN = x\n"
        assert [(line, why.split(";")[0]) for line, why in refused(content)] == [
            (2, '"x" is no hex digit'),
            (3, "a SHA-1 fingerprint says too little"),
            (4, "63 hex digits, an odd number: one is missing or too many (SHA-256 has 64)"),
        ]
        assert refused("subject=CN = x\nserial=0A\n")[0][0] == 1
        assert refused("") == [(0, "there is nothing in it that names a certificate")]


class TestTables:
    def test_columns_are_known_by_their_names(self) -> None:
        content = (
            "Device;SHA-256 Fingerprint;Owner;Ticket;Not After\n"
            f'"Dock 4; rear";{COLONS};ops;WH-1;2027-12-31\n'
            f"x;{B};;;Dec  1 00:00:00 2027 GMT\n"
        )
        found = read_entries(content.encode())
        assert [(line, one.comment, one.owner, one.ticket, one.expires) for line, one in found.entries] == [
            (2, "Dock 4; rear", "ops", "WH-1", 1830211200),
            (3, "x", "", "", 1827619200),
        ]

    def test_keys_and_serial_numbers_are_taken(self) -> None:
        content = f"spki,issuer,serial\n{A},,\n,corp,0F:1A\n"
        found = read_entries(content.encode())
        assert [(one.key.kind, one.key.text) for _, one in found.entries] == [
            (Kind.SPKI_SHA256, f"spki:{A}"),
            (Kind.SERIAL, "corp/f1a"),
        ]

    def test_a_sha1_beside_a_sha256_is_passed_by(self) -> None:
        assert taken(f"thumbprint,sha256,name\n{'12' * 20},{A},x\n") == [(2, f"sha256:{A}", "x")]

    def test_without_names_the_cell_that_is_a_fingerprint_counts(self) -> None:
        assert taken(f"# register\ndock 4,{A},ops\n\n") == [(2, f"sha256:{A}", "dock 4, ops")]

    @pytest.mark.parametrize(
        ("row", "why"),
        [
            ("x,,,", "no cell holds"),
            (f"x,{'12' * 20},,", "a SHA-1 fingerprint says too little"),
            (f"x,{A},,soon", "the end 'soon' is no time"),
            ("x,,zz,", "no cell holds"),
        ],
    )
    def test_every_row_that_can_t_be_taken_is_named(self, row: str, why: str) -> None:
        found = refused(f"name,fingerprint,serial,expires\n{row}\n")
        assert [(line, text.startswith(why)) for line, text in found] == [(2, True)]

    def test_a_serial_number_must_be_hex(self) -> None:
        assert refused("issuer,serial\ncorp,zz\n") == [(2, "the serial number 'zz' is not hex")]

    def test_a_row_without_any_fingerprint_is_named(self) -> None:
        assert [line for line, _ in refused("a,b\nc,d\n")] == [1, 2]

    def test_what_is_no_csv_is_named(self) -> None:
        assert refused(f"fingerprint,name\n{A},{'x' * 200_000}\n")[0][1].startswith("no CSV")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x30\x82", "pem"),
        (b"x\n-----BEGIN CERTIFICATE-----\n", "pem"),
        (f"# c\n{COLONS}\n".encode(), "lines"),
        (b"a,b\n", "csv"),
        (b"", "lines"),
    ],
)
def test_formats_are_told_by_their_looks(content: bytes, kind: str) -> None:
    assert detect_format(content) == kind


def test_a_byte_order_mark_is_passed_by() -> None:
    assert taken(f"\ufefffingerprint,name\n{A},x\n") == [(2, f"sha256:{A}", "x")]
