"""Drafts beside their originals, on every HAProxy wanted: no request may be allowed anew, or sent elsewhere."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

import pytest

from spoa.haproxy_config.proxies import read_proxies
from spoa.haproxy_config.reading import read_configuration
from spoa.migration.drafting import choose_frontend, draft_policy
from spoa.reenactment import reenact
from tests.migration.configurations import frontend
from tests.pki import CA

pytestmark = pytest.mark.integration

FILES: Final = {"ca.pem": CA("Corp CA").pem + CA("Partner CA").pem, "allowed.txt": b"AB" * 20 + b"\n"}

#: What guides to client certificates on HAProxy show, in our words.
ORIGINALS: Final = {
    "route by common name": (
        "acl is_admin ssl_c_s_dn(cn) -i admin-service",
        "acl is_probe ssl_c_s_dn(cn) -i monitoring",
        "use_backend a if is_admin",
        "use_backend b if is_probe",
        "default_backend c",
    ),
    "areas by organizational unit": (
        "acl is_admin ssl_c_s_dn(ou) -i administrators",
        "acl is_partner ssl_c_s_dn(ou) -i partner-api",
        "acl admin_area path_beg /admin",
        "acl partner_area path_beg /api/partner",
        "http-request deny if admin_area !is_admin",
        "http-request deny if partner_area !is_partner",
        "default_backend a",
    ),
    "a list of fingerprints": (
        "acl allowed ssl_c_sha1,hex -f allowed.txt",
        "http-request deny unless allowed",
        "default_backend a",
    ),
    "production": (
        "acl is_admin ssl_c_s_dn(cn) -i admin-service",
        "acl reads_only ssl_c_s_dn(cn) -m sub readonly",
        "acl is_internal ssl_c_s_dn(ou) -i internal",
        "acl is_partner ssl_c_s_dn(ou) -i partner",
        "acl admin_area path_beg /api/admin",
        "acl writes method POST PUT DELETE PATCH",
        "http-request set-header X-Client-CN %{+Q}[ssl_c_s_dn(cn)]",
        "http-request deny if admin_area !is_admin",
        "http-request deny if writes reads_only",
        "http-request deny if !is_internal !is_partner",
        "use_backend a if is_admin",
        "use_backend b if is_partner",
        "default_backend c",
    ),
    "first match": (
        "http-request allow if { path_beg /health } { src 10.0.0.0/8 }",
        "http-request allow if { ssl_c_i_dn(cn) 'Partner CA' } { path_beg /partner/ }",
        "http-request deny deny_status 404 if { path_end .php .bak }",
        "http-request deny unless { ssl_c_s_dn(o) Acme } or { ssl_c_s_dn(cn) -m beg svc- }",
        "use_backend a unless { method GET HEAD }",
        "default_backend b",
    ),
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_draft_allows_nothing_that_haproxy_refuses(name: str, binary: Path) -> None:
    configuration = read_configuration([("edge.cfg", frontend(*ORIGINALS[name]))], version="3.2", environment={})
    proxies = read_proxies(configuration)
    draft = draft_policy(configuration, proxies, choose_frontend(proxies, ""), FILES.get, int(time.time()))

    def read(file: str) -> str | None:
        return FILES[file].decode() if file in FILES else None

    with tempfile.TemporaryDirectory(prefix="spoa-", dir="/tmp") as folder:
        found = reenact(draft, configuration, proxies, read, binary, Path(folder), int(time.time()))
    assert {one.tag for one in found} <= {"same", "newly_denied"}
    assert {one.decision.verdict for one in found} == {"allow", "deny"}
