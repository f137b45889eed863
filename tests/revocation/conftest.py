"""CAs and certificates that several modules ask for; nothing changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from tests.pki import CA
from tests.revocation.lists import NOW, named, point, with_points

if TYPE_CHECKING:
    from tests.pki import Issued


@pytest.fixture(scope="session")
def ca() -> CA:
    return CA("Corp CA", now=NOW)


@pytest.fixture(scope="session")
def alice(ca: CA) -> Issued:
    return ca.issue("alice")


@pytest.fixture(scope="session")
def bob(ca: CA) -> Issued:
    return ca.issue("bob")


@pytest.fixture(scope="session")
def root() -> CA:
    return CA("Root CA", now=NOW)


@pytest.fixture(scope="session")
def issuing(root: CA) -> CA:
    return root.intermediate("Issuing CA")


@pytest.fixture(scope="session")
def lister(root: CA) -> CA:
    return root.intermediate("List CA")


@pytest.fixture(scope="session")
def second(root: CA) -> CA:
    """The issuing CA's other certificate, for another key."""
    return root.intermediate("Issuing CA")


@pytest.fixture(scope="session")
def pointing(issuing: CA) -> Issued:
    """A certificate that names the list CA as its CRL issuer."""
    return with_points(issuing, point(crl_issuer=[x509.DirectoryName(named("List CA"))]))
