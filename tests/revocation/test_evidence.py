from __future__ import annotations

from typing import TYPE_CHECKING

from spoa.pem import write_block
from spoa.revocation.evidence import read_certificates, read_crls, read_responses
from spoa.revocation.status import Reason
from tests.pki import CA
from tests.revocation.lists import NOW, answer, crl

if TYPE_CHECKING:
    import pytest

CORP = CA("Corp CA", now=NOW)


def test_every_list_of_every_file_is_read_and_every_failure_counted() -> None:
    pem = write_block("X509 CRL", crl(CORP)) + write_block("X509 CRL", b"junk") + write_block("X509 CRL", crl(CORP))
    crls, problems = read_crls([crl(CORP), pem, b"", b"-----BEGIN X509 CRL-----\n???\n-----END X509 CRL-----\n"])
    assert (len(crls), list(problems)) == (3, [Reason.PARSE_ERROR] * 3)


def test_what_is_too_large_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.revocation.evidence.MAX_CRL_SIZE", 10)
    assert read_crls([bytes(21)]) == ((), (Reason.TOO_LARGE,))


def test_responses_and_certificates_that_cannot_be_read_are_left_out() -> None:
    responses, problems = read_responses([b"junk", answer(CORP.issue(), CORP)])
    assert (len(responses), problems) == (1, (Reason.PARSE_ERROR,))
    assert [CORP.der] == [certificate.der for certificate in read_certificates([b"junk", CORP.der])]
