"""NIST's Public Key Interoperability Test Suite (version 1.0.1), the sections on revocation: 4.4, 4.5, 4.7, 4.14, 4.15.

A path that the suite calls valid must be good, and an invalid one must not be. Which of *revoked* and *undetermined* an
invalid one is, follows from what the suite says of the test: revoked where a certificate is listed by a CRL that
counts, undetermined where no CRL counts.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final, NamedTuple

import cryptography_vectors
import pytest

from spoa.revocation import Result, Status, check

DATA: Final = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
NOW: Final = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
GOOD, REVOKED, UNDETERMINED = Status.GOOD, Status.REVOKED, Status.UNDETERMINED

#: What is documented as not supported: nothing.
UNSUPPORTED: Final[frozenset[str]] = frozenset()


class Case(NamedTuple):
    """A test of the suite; names are those of its files, separated by blanks, without what all of their kind have."""

    number: str
    certificate: str
    issuers: str
    crls: str
    status: Status
    extra: str = ""


CASES: Final = [
    Case("4.4.1", "InvalidMissingCRLTest1", "NoCRLCACert", "", UNDETERMINED),
    Case("4.4.2", "InvalidRevokedCATest2", "RevokedsubCACert GoodCACert", "GoodCACRL RevokedsubCACRL", REVOKED),
    Case("4.4.3", "InvalidRevokedEETest3", "GoodCACert", "GoodCACRL", REVOKED),
    Case("4.4.4", "InvalidBadCRLSignatureTest4", "BadCRLSignatureCACert", "BadCRLSignatureCACRL", UNDETERMINED),
    Case("4.4.5", "InvalidBadCRLIssuerNameTest5", "BadCRLIssuerNameCACert", "BadCRLIssuerNameCACRL", UNDETERMINED),
    Case("4.4.6", "InvalidWrongCRLTest6", "WrongCRLCACert", "WrongCRLCACRL", UNDETERMINED),
    Case("4.4.7", "ValidTwoCRLsTest7", "TwoCRLsCACert", "TwoCRLsCABadCRL TwoCRLsCAGoodCRL", GOOD),
    Case(
        "4.4.8",
        "InvalidUnknownCRLEntryExtensionTest8",
        "UnknownCRLEntryExtensionCACert",
        "UnknownCRLEntryExtensionCACRL",
        REVOKED,
    ),
    Case(
        "4.4.9",
        "InvalidUnknownCRLExtensionTest9",
        "UnknownCRLExtensionCACert",
        "UnknownCRLExtensionCACRL",
        UNDETERMINED,
    ),
    Case(
        "4.4.10",
        "InvalidUnknownCRLExtensionTest10",
        "UnknownCRLExtensionCACert",
        "UnknownCRLExtensionCACRL",
        UNDETERMINED,
    ),
    Case("4.4.11", "InvalidOldCRLnextUpdateTest11", "OldCRLnextUpdateCACert", "OldCRLnextUpdateCACRL", UNDETERMINED),
    Case(
        "4.4.12",
        "Invalidpre2000CRLnextUpdateTest12",
        "pre2000CRLnextUpdateCACert",
        "pre2000CRLnextUpdateCACRL",
        UNDETERMINED,
    ),
    Case(
        "4.4.13",
        "ValidGeneralizedTimeCRLnextUpdateTest13",
        "GeneralizedTimeCRLnextUpdateCACert",
        "GeneralizedTimeCRLnextUpdateCACRL",
        GOOD,
    ),
    Case("4.4.14", "ValidNegativeSerialNumberTest14", "NegativeSerialNumberCACert", "NegativeSerialNumberCACRL", GOOD),
    Case(
        "4.4.15",
        "InvalidNegativeSerialNumberTest15",
        "NegativeSerialNumberCACert",
        "NegativeSerialNumberCACRL",
        REVOKED,
    ),
    Case("4.4.16", "ValidLongSerialNumberTest16", "LongSerialNumberCACert", "LongSerialNumberCACRL", GOOD),
    Case("4.4.17", "ValidLongSerialNumberTest17", "LongSerialNumberCACert", "LongSerialNumberCACRL", GOOD),
    Case("4.4.18", "InvalidLongSerialNumberTest18", "LongSerialNumberCACert", "LongSerialNumberCACRL", REVOKED),
    Case(
        "4.4.19",
        "ValidSeparateCertificateandCRLKeysTest19",
        "SeparateCertificateandCRLKeysCertificateSigningCACert",
        "SeparateCertificateandCRLKeysCRL",
        GOOD,
        "SeparateCertificateandCRLKeysCRLSigningCert",
    ),
    Case(
        "4.4.20",
        "InvalidSeparateCertificateandCRLKeysTest20",
        "SeparateCertificateandCRLKeysCertificateSigningCACert",
        "SeparateCertificateandCRLKeysCRL",
        REVOKED,
        "SeparateCertificateandCRLKeysCRLSigningCert",
    ),
    Case(
        "4.4.21",
        "InvalidSeparateCertificateandCRLKeysTest21",
        "SeparateCertificateandCRLKeysCA2CertificateSigningCACert",
        "SeparateCertificateandCRLKeysCA2CRL",
        UNDETERMINED,
        "SeparateCertificateandCRLKeysCA2CRLSigningCert",
    ),
    Case(
        "4.5.1",
        "ValidBasicSelfIssuedOldWithNewTest1",
        "BasicSelfIssuedNewKeyOldWithNewCACert BasicSelfIssuedNewKeyCACert",
        "BasicSelfIssuedNewKeyCACRL",
        GOOD,
    ),
    Case(
        "4.5.2",
        "InvalidBasicSelfIssuedOldWithNewTest2",
        "BasicSelfIssuedNewKeyOldWithNewCACert BasicSelfIssuedNewKeyCACert",
        "BasicSelfIssuedNewKeyCACRL",
        REVOKED,
    ),
    Case(
        "4.5.3",
        "ValidBasicSelfIssuedNewWithOldTest3",
        "BasicSelfIssuedOldKeyNewWithOldCACert BasicSelfIssuedOldKeyCACert",
        "BasicSelfIssuedOldKeyCACRL BasicSelfIssuedOldKeySelfIssuedCertCRL",
        GOOD,
    ),
    Case(
        "4.5.4",
        "ValidBasicSelfIssuedNewWithOldTest4",
        "BasicSelfIssuedOldKeyCACert",
        "BasicSelfIssuedOldKeyCACRL BasicSelfIssuedOldKeySelfIssuedCertCRL",
        GOOD,
        "BasicSelfIssuedOldKeyNewWithOldCACert",
    ),
    Case(
        "4.5.5",
        "InvalidBasicSelfIssuedNewWithOldTest5",
        "BasicSelfIssuedOldKeyCACert",
        "BasicSelfIssuedOldKeyCACRL BasicSelfIssuedOldKeySelfIssuedCertCRL",
        REVOKED,
        "BasicSelfIssuedOldKeyNewWithOldCACert",
    ),
    Case(
        "4.5.6",
        "ValidBasicSelfIssuedCRLSigningKeyTest6",
        "BasicSelfIssuedCRLSigningKeyCACert",
        "BasicSelfIssuedCRLSigningKeyCACRL BasicSelfIssuedCRLSigningKeyCRLCertCRL",
        GOOD,
        "BasicSelfIssuedCRLSigningKeyCRLCert",
    ),
    Case(
        "4.5.7",
        "InvalidBasicSelfIssuedCRLSigningKeyTest7",
        "BasicSelfIssuedCRLSigningKeyCACert",
        "BasicSelfIssuedCRLSigningKeyCACRL BasicSelfIssuedCRLSigningKeyCRLCertCRL",
        REVOKED,
        "BasicSelfIssuedCRLSigningKeyCRLCert",
    ),
    Case(
        "4.5.8",
        "InvalidBasicSelfIssuedCRLSigningKeyTest8",
        "BasicSelfIssuedCRLSigningKeyCRLCert BasicSelfIssuedCRLSigningKeyCACert",
        "BasicSelfIssuedCRLSigningKeyCACRL BasicSelfIssuedCRLSigningKeyCRLCertCRL",
        UNDETERMINED,
    ),
    Case(
        "4.7.1",
        "InvalidkeyUsageCriticalkeyCertSignFalseTest1",
        "keyUsageCriticalkeyCertSignFalseCACert",
        "keyUsageCriticalkeyCertSignFalseCACRL",
        UNDETERMINED,
    ),
    Case(
        "4.7.2",
        "InvalidkeyUsageNotCriticalkeyCertSignFalseTest2",
        "keyUsageNotCriticalkeyCertSignFalseCACert",
        "keyUsageNotCriticalkeyCertSignFalseCACRL",
        UNDETERMINED,
    ),
    Case("4.7.3", "ValidkeyUsageNotCriticalTest3", "keyUsageNotCriticalCACert", "keyUsageNotCriticalCACRL", GOOD),
    Case(
        "4.7.4",
        "InvalidkeyUsageCriticalcRLSignFalseTest4",
        "keyUsageCriticalcRLSignFalseCACert",
        "keyUsageCriticalcRLSignFalseCACRL",
        UNDETERMINED,
    ),
    Case(
        "4.7.5",
        "InvalidkeyUsageNotCriticalcRLSignFalseTest5",
        "keyUsageNotCriticalcRLSignFalseCACert",
        "keyUsageNotCriticalcRLSignFalseCACRL",
        UNDETERMINED,
    ),
    Case("4.14.1", "ValiddistributionPointTest1", "distributionPoint1CACert", "distributionPoint1CACRL", GOOD),
    Case("4.14.2", "InvaliddistributionPointTest2", "distributionPoint1CACert", "distributionPoint1CACRL", REVOKED),
    Case(
        "4.14.3", "InvaliddistributionPointTest3", "distributionPoint1CACert", "distributionPoint1CACRL", UNDETERMINED
    ),
    Case("4.14.4", "ValiddistributionPointTest4", "distributionPoint1CACert", "distributionPoint1CACRL", GOOD),
    Case("4.14.5", "ValiddistributionPointTest5", "distributionPoint2CACert", "distributionPoint2CACRL", GOOD),
    Case("4.14.6", "InvaliddistributionPointTest6", "distributionPoint2CACert", "distributionPoint2CACRL", REVOKED),
    Case("4.14.7", "ValiddistributionPointTest7", "distributionPoint2CACert", "distributionPoint2CACRL", GOOD),
    Case(
        "4.14.8", "InvaliddistributionPointTest8", "distributionPoint2CACert", "distributionPoint2CACRL", UNDETERMINED
    ),
    Case(
        "4.14.9", "InvaliddistributionPointTest9", "distributionPoint2CACert", "distributionPoint2CACRL", UNDETERMINED
    ),
    Case(
        "4.14.10",
        "ValidNoissuingDistributionPointTest10",
        "NoissuingDistributionPointCACert",
        "NoissuingDistributionPointCACRL",
        GOOD,
    ),
    Case(
        "4.14.11",
        "InvalidonlyContainsUserCertsTest11",
        "onlyContainsUserCertsCACert",
        "onlyContainsUserCertsCACRL",
        UNDETERMINED,
    ),
    Case(
        "4.14.12",
        "InvalidonlyContainsCACertsTest12",
        "onlyContainsCACertsCACert",
        "onlyContainsCACertsCACRL",
        UNDETERMINED,
    ),
    Case("4.14.13", "ValidonlyContainsCACertsTest13", "onlyContainsCACertsCACert", "onlyContainsCACertsCACRL", GOOD),
    Case(
        "4.14.14",
        "InvalidonlyContainsAttributeCertsTest14",
        "onlyContainsAttributeCertsCACert",
        "onlyContainsAttributeCertsCACRL",
        UNDETERMINED,
    ),
    Case(
        "4.14.15",
        "InvalidonlySomeReasonsTest15",
        "onlySomeReasonsCA1Cert",
        "onlySomeReasonsCA1compromiseCRL onlySomeReasonsCA1otherreasonsCRL",
        REVOKED,
    ),
    Case(
        "4.14.16",
        "InvalidonlySomeReasonsTest16",
        "onlySomeReasonsCA1Cert",
        "onlySomeReasonsCA1compromiseCRL onlySomeReasonsCA1otherreasonsCRL",
        REVOKED,
    ),
    Case(
        "4.14.17",
        "InvalidonlySomeReasonsTest17",
        "onlySomeReasonsCA2Cert",
        "onlySomeReasonsCA2CRL1 onlySomeReasonsCA2CRL2",
        UNDETERMINED,
    ),
    Case(
        "4.14.18",
        "ValidonlySomeReasonsTest18",
        "onlySomeReasonsCA3Cert",
        "onlySomeReasonsCA3compromiseCRL onlySomeReasonsCA3otherreasonsCRL",
        GOOD,
    ),
    Case(
        "4.14.19",
        "ValidonlySomeReasonsTest19",
        "onlySomeReasonsCA4Cert",
        "onlySomeReasonsCA4compromiseCRL onlySomeReasonsCA4otherreasonsCRL",
        GOOD,
    ),
    Case(
        "4.14.20",
        "InvalidonlySomeReasonsTest20",
        "onlySomeReasonsCA4Cert",
        "onlySomeReasonsCA4compromiseCRL onlySomeReasonsCA4otherreasonsCRL",
        REVOKED,
    ),
    Case(
        "4.14.21",
        "InvalidonlySomeReasonsTest21",
        "onlySomeReasonsCA4Cert",
        "onlySomeReasonsCA4compromiseCRL onlySomeReasonsCA4otherreasonsCRL",
        REVOKED,
    ),
    Case("4.14.22", "ValidIDPwithindirectCRLTest22", "indirectCRLCA1Cert", "indirectCRLCA1CRL", GOOD),
    Case("4.14.23", "InvalidIDPwithindirectCRLTest23", "indirectCRLCA1Cert", "indirectCRLCA1CRL", REVOKED),
    Case(
        "4.14.24",
        "ValidIDPwithindirectCRLTest24",
        "indirectCRLCA2Cert",
        "indirectCRLCA1CRL",
        GOOD,
        "indirectCRLCA1Cert",
    ),
    Case(
        "4.14.25",
        "ValidIDPwithindirectCRLTest25",
        "indirectCRLCA2Cert",
        "indirectCRLCA1CRL",
        GOOD,
        "indirectCRLCA1Cert",
    ),
    Case(
        "4.14.26",
        "InvalidIDPwithindirectCRLTest26",
        "indirectCRLCA2Cert",
        "indirectCRLCA1CRL",
        UNDETERMINED,
        "indirectCRLCA1Cert",
    ),
    Case(
        "4.14.27",
        "InvalidcRLIssuerTest27",
        "indirectCRLCA2Cert",
        "GoodCACRL indirectCRLCA1CRL",
        UNDETERMINED,
        "GoodCACert indirectCRLCA1Cert",
    ),
    Case(
        "4.14.28",
        "ValidcRLIssuerTest28",
        "indirectCRLCA3Cert",
        "indirectCRLCA3CRL indirectCRLCA3cRLIssuerCRL",
        GOOD,
        "indirectCRLCA3cRLIssuerCert",
    ),
    Case(
        "4.14.29",
        "ValidcRLIssuerTest29",
        "indirectCRLCA3Cert",
        "indirectCRLCA3CRL indirectCRLCA3cRLIssuerCRL",
        GOOD,
        "indirectCRLCA3cRLIssuerCert",
    ),
    Case(
        "4.14.30",
        "ValidcRLIssuerTest30",
        "indirectCRLCA4Cert",
        "indirectCRLCA4cRLIssuerCRL",
        GOOD,
        "indirectCRLCA4cRLIssuerCert",
    ),
    Case("4.14.31", "InvalidcRLIssuerTest31", "indirectCRLCA6Cert", "indirectCRLCA5CRL", REVOKED, "indirectCRLCA5Cert"),
    Case("4.14.32", "InvalidcRLIssuerTest32", "indirectCRLCA6Cert", "indirectCRLCA5CRL", REVOKED, "indirectCRLCA5Cert"),
    Case("4.14.33", "ValidcRLIssuerTest33", "indirectCRLCA6Cert", "indirectCRLCA5CRL", GOOD, "indirectCRLCA5Cert"),
    Case("4.14.34", "InvalidcRLIssuerTest34", "indirectCRLCA5Cert", "indirectCRLCA5CRL", REVOKED),
    Case(
        "4.14.35",
        "InvalidcRLIssuerTest35",
        "indirectCRLCA5Cert",
        "indirectCRLCA5CRL",
        UNDETERMINED,
        "indirectCRLCA6Cert",
    ),
    Case(
        "4.15.1",
        "InvaliddeltaCRLIndicatorNoBaseTest1",
        "deltaCRLIndicatorNoBaseCACert",
        "deltaCRLIndicatorNoBaseCACRL",
        UNDETERMINED,
    ),
    Case("4.15.2", "ValiddeltaCRLTest2", "deltaCRLCA1Cert", "deltaCRLCA1CRL deltaCRLCA1deltaCRL", GOOD),
    Case("4.15.3", "InvaliddeltaCRLTest3", "deltaCRLCA1Cert", "deltaCRLCA1CRL deltaCRLCA1deltaCRL", REVOKED),
    Case("4.15.4", "InvaliddeltaCRLTest4", "deltaCRLCA1Cert", "deltaCRLCA1CRL deltaCRLCA1deltaCRL", REVOKED),
    Case("4.15.5", "ValiddeltaCRLTest5", "deltaCRLCA1Cert", "deltaCRLCA1CRL deltaCRLCA1deltaCRL", GOOD),
    Case("4.15.6", "InvaliddeltaCRLTest6", "deltaCRLCA1Cert", "deltaCRLCA1CRL deltaCRLCA1deltaCRL", REVOKED),
    Case("4.15.7", "ValiddeltaCRLTest7", "deltaCRLCA1Cert", "deltaCRLCA1CRL deltaCRLCA1deltaCRL", GOOD),
    Case("4.15.8", "ValiddeltaCRLTest8", "deltaCRLCA2Cert", "deltaCRLCA2CRL deltaCRLCA2deltaCRL", GOOD),
    Case("4.15.9", "InvaliddeltaCRLTest9", "deltaCRLCA2Cert", "deltaCRLCA2CRL deltaCRLCA2deltaCRL", REVOKED),
    Case("4.15.10", "InvaliddeltaCRLTest10", "deltaCRLCA3Cert", "deltaCRLCA3CRL deltaCRLCA3deltaCRL", UNDETERMINED),
]


def read(kind: str, names: str) -> list[bytes]:
    suffix = {"certs": ".crt", "crls": ".crl"}[kind]
    return [(DATA / kind / f"{name}{suffix}").read_bytes() for name in names.split()]


def judged(case: Case, crls: list[bytes], depth: str = "chain") -> Result:
    (certificate,) = read("certs", f"{case.certificate}EE")
    return check(
        certificate,
        read("certs", case.issuers),
        anchors=read("certs", "TrustAnchorRootCertificate"),
        extra=read("certs", case.extra),
        crls=crls,
        now=NOW,
        depth=depth,
    )


def lists_of(case: Case) -> list[bytes]:
    return read("crls", f"TrustAnchorRootCRL {case.crls}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.number)
def test_the_suite_is_answered_as_nist_expects(case: Case) -> None:
    result = judged(case, lists_of(case))
    assert (case.certificate.startswith("Valid"), case.status) == (result.status is GOOD, result.status)


def test_no_test_of_these_sections_is_left_out() -> None:
    sizes = {"4.4": 21, "4.5": 8, "4.7": 5, "4.14": 35, "4.15": 10}
    expected = {f"{section}.{number}" for section, size in sizes.items() for number in range(1, size + 1)}
    assert {case.number for case in CASES} | UNSUPPORTED == expected


def test_every_list_of_the_suite_at_once_changes_no_answer() -> None:
    """A pile of other CAs' lists is no evidence about anybody."""
    crls = [file.read_bytes() for file in sorted((DATA / "crls").glob("*.crl"))]
    for number in ("4.4.1", "4.4.7", "4.5.3", "4.14.30", "4.15.8"):
        case = next(case for case in CASES if case.number == number)
        result = judged(case, crls)
        assert (number, case.status) == (number, result.status)


def test_leaf_only_a_revoked_crl_signer_is_still_not_believed() -> None:
    """4.4.21, where OpenSSL without -crl_check_all says good."""
    case = next(case for case in CASES if case.number == "4.4.21")
    result = judged(case, lists_of(case), "leaf")
    assert (result.status, result.reason) == (UNDETERMINED, "signer_revoked")
