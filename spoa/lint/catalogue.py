"""All that `check` can find, by code: what it means and what to do.

The reference and SARIF are written from this table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ERRORS", "FINDINGS", "WARNINGS", "Advice", "page_of"]

#: Where codes are explained, each under a heading that is its anchor.
_PAGE: Final = "docs/reference/findings.md"


class Advice(NamedTuple):
    """What a code means, in a sentence, and what to do about it."""

    meaning: str
    remedy: str


#: What does not keep a policy from being activated, and can be silenced in place.
WARNINGS: Final[Mapping[str, Advice]] = {
    "never-matches": Advice(
        "A rule that no request can match: two values that one attribute can't have together, a client that gates "
        "refuse before, a list without a valid entry, a path that is never canonical.",
        "Mend the key that is named, or take the rule out. A `deny` or `require` that never matches protects nothing.",
    ),
    "shadowed-rule": Advice(
        "A rule that changes no answer: others allow, deny or require the same and more, with the answer that counts.",
        "Take it out, or narrow the wider one if the narrower was meant. A rule with a reason of its own that stands "
        "before the wider one is not reported.",
    ),
    "dead-allow": Advice(
        "An allow that never takes effect: others deny all of it, whatever else the request says.",
        "Decide which of them is meant. Order doesn't help: a deny, and a require that isn't met, always win.",
    ),
    "contradicting-rules": Advice(
        "Two rules that can't both be satisfied: whoever meets one is denied by the other.",
        "Join two requirements into one list (`source: [a, b]` is either), or narrow one of the rules.",
    ),
    "unmeetable-require": Advice(
        "A require that nothing can satisfy, or nobody whom any rule allows these requests: it denies all that it is "
        "about.",
        "Require what those who are meant can meet, or allow them something. If nobody is meant, write a deny.",
    ),
    "useless-deny": Advice(
        "A deny whose `unless` holds for all that it denies, or all but what is spelt otherwise, which only a "
        "deny reads generously.",
        "Narrow `unless`, or take the rule out. If other spellings are what it is to deny, silence the finding.",
    ),
    "useless-unless": Advice(
        "An exception that never holds for anything that its deny is about.",
        "Mend it, or take `unless` out; the rule denies without exception now.",
    ),
    "unreachable-route": Advice(
        "A route that no request takes: an earlier one takes them all, no rule allows one that it is for, or all "
        "that are allowed are denied.",
        "Put the narrower route first, since the first that matches wins; allow what should go there, or take away "
        "what denies it.",
    ),
    "wide-allow": Advice(
        "An allow wider than those whom it names can use, or need by their name: another rule confines the same "
        "clients to some paths, methods or people, an identity that calls itself read-only may write, single clients "
        "may send anything where others are confined to paths, or everybody is allowed everything beside rules for "
        "some.",
        "Write the same confinement into the allow. Then the other rule is a second lock, and not the only one.",
    ),
    "covered-identity": Advice(
        "An identity in a `who` that says nothing, since the others beside it mean the same clients and more.",
        "Take it out; or take the wider one out, such as `any_certificate`, if the narrower was meant.",
    ),
    "any-issuer": Advice(
        "An identity that is bound to no issuer: any CA that HAProxy trusts can issue such a certificate.",
        "Name the issuer, or several. If every CA is meant, silence the finding with the reason.",
    ),
    "unescaped-regex": Advice(
        "A regular expression in which a dot or a star looks as if it stood for itself, or for anything: "
        "`api.example` also matches `apiXexample`, and `batch-*` any number of hyphens.",
        r"Write `\.` for a dot and `.*` for anything; `.{1}` says that any one character is meant.",
    ),
    "needless-regex": Advice(
        "A regular expression without any sign of one.", "Write the text without `re`, as an ordinary value."
    ),
    "regex-like-value": Advice(
        "A value that looks like a regular expression and is an ordinary pattern, in which `^`, `$`, `.+` and `(a|b)` "
        "stand for themselves.",
        "Write `{re: …}` if an expression is meant; in a pattern `*` is one or more characters.",
    ),
    "prefix-path": Advice(
        "A path that looks like a prefix and isn't: `/admin` is one path, `/admin/` another, `/admin/*` one segment "
        "below, `/admin*` and the expression `/admin.*` also `/administrator`; only `/admin/**` is all of it.",
        "Write `/admin/**`. In a deny or require this matters most: what isn't covered isn't protected.",
    ),
    "odd-method": Advice(
        "A method that no client sends: methods are compared as they are written, and `*`, `READ` or `any` is no word.",
        "Write methods in upper case, `read` or `write`; for all methods leave `method` out.",
    ),
    "shadow-overdue": Advice(
        "A rule whose `shadow_until` has passed; it stays in shadow until someone decides.",
        "Take `mode` and `shadow_until` away to enforce it, set a later date, or take the rule out.",
    ),
    "expired-entry": Advice(
        "An entry of a list that has expired and matches no longer, or SHA-1 entries that have ended.",
        "Renew it with the new fingerprint and date, or take it out.",
    ),
    "expiring-entry": Advice(
        "An entry of a list that expires within 30 days.",
        "Ask its owner: renew it, or let it end. `next` takes the successor's fingerprint for the time between.",
    ),
    "sha1": Advice(
        "A list with SHA-1 fingerprints, which it accepts until its date (a warning), or doesn't accept (an error).",
        "List the SHA-256 that `spoa-authz fingerprint CERT` prints.",
    ),
    "sha1-ended": Advice(
        "A list whose `accept_sha1_until` has passed: its SHA-1 entries match no longer.",
        "List the SHA-256 of the clients that are left, and take the date out.",
    ),
    "duplicate-entry": Advice("A certificate that stands in a list twice.", "Remove one of the entries."),
    "empty-list": Advice("A list with no certificate on it.", "Add entries; who is named by the list alone is nobody."),
    "invisible-character": Advice(
        "A fingerprint with an invisible character that was copied along; it is ignored.", "Remove it."
    ),
    "more-problems": Advice(
        "A list with more than a hundred errors or warnings; the others are only counted.", "Mend the first hundred."
    ),
    "bad-crl": Advice(
        "A revocation list that can't be used now, or lists that together prove no certificate good. Revocation lists "
        "are data: the policy is activated, and certificates are judged by `on_failure`.",
        "Put a current list of this issuer there; `spoa-authz revocation` shows what is wrong with it.",
    ),
    "missing-api-version": Advice("A document without `apiVersion`.", "Write `apiVersion: authz/v1` at its top."),
    "not-read": Advice(
        "A YAML file in a folder that nobody reads.",
        "Move policies to the top of the directory and tests into `tests/`, or take the file away.",
    ),
    "invariant-in-shadow": Advice(
        "An invariant of a policy in shadow mode; it is judged as if rules were enforced. Told by `test`.",
        "Nothing, as long as the shadow lasts.",
    ),
    "invariant-not-proved": Advice(
        "An invariant that could neither be proved nor broken in the time there is. Told by `test`.",
        "Simplify the patterns that the message names, or say the invariant of fewer requests.",
    ),
    "useless-silence": Advice(
        "A comment that silences a finding which isn't there, or an error, which can't be silenced.",
        "Take the comment out; what it excused is gone. An error has to be mended.",
    ),
    "bad-silence": Advice(
        "A comment that looks like one that silences a finding, without a code that exists or without a reason.",
        "Write `# check: ignore CODE: reason`; the reason is for whoever reads the policy next.",
    ),
}

#: What keeps a policy from being activated.
ERRORS: Final[Mapping[str, Advice]] = {
    "alias-expansion": Advice("Aliases that repeat too much.", "Write fewer of them."),
    "bad-certificate": Advice("A certificate that can't be read.", "Put the CA's certificate there, PEM or DER."),
    "bad-fixture": Advice("A certificate file of a test that can't be read.", "Put a certificate there, PEM or DER."),
    "byte-order-mark": Advice("A document with a byte order mark.", "Save it as UTF-8 without one."),
    "conflicting-keys": Advice("Keys that can't stand beside one another.", "Keep one of them."),
    "contradiction": Advice("`none` beside a source of revocation.", "Take one of them out."),
    "duplicate-anchor": Advice("An anchor that is defined twice.", "Give each value its own name."),
    "duplicate-id": Advice("Two rules with one id.", "Give each rule its own."),
    "duplicate-key": Advice("A key that stands twice in one mapping.", "Remove or join them."),
    "duplicate-name": Advice("A name or default that is set twice, perhaps in two files.", "Keep one of them."),
    "empty-file": Advice("A file without a document.", "Write one, or take the file away."),
    "file-name": Advice("A policy file whose name doesn't end in `.yaml`.", "Rename it, or it would not be read."),
    "invalid": Advice("Something else that can't be.", "Do what the message says."),
    "invalid-value": Advice("A value that isn't one of those that can stand there.", "Do what the message says."),
    "key-type": Advice("A key that is no text, or missing.", "Write a text before the colon."),
    "label-mismatch": Advice("A fingerprint whose label names another algorithm.", "Copy it once more."),
    "merge-key": Advice("A merge key (`<<`).", "Write the keys out, or repeat a whole value by its alias."),
    "missing-expiry": Advice(
        "An entry of a list without an end.", "Give `expires`, or `permanent: true` for the list."
    ),
    "missing-fixture": Advice(
        "A test that names a certificate file that isn't there.", "Put it there, or mend the path."
    ),
    "missing-key": Advice("A key that must be there isn't.", "Write it; the message says which."),
    "no-certificate": Advice("A CA file without a certificate.", "Put the CA's certificate there, PEM or DER."),
    "no-policy": Advice("A directory without a policy file.", "Name the right directory, or write `policy.yaml`."),
    "not-an-authority": Advice("A certificate of a CA that is none.", "Put the certificate of the signing CA there."),
    "not-hex": Advice("A fingerprint or serial number with other characters than hex digits.", "Copy it once more."),
    "not-utf8": Advice("A document that is not UTF-8.", "Save it as UTF-8."),
    "pem": Advice("A certificate in a list of fingerprints.", "`spoa-authz fingerprint CERT` prints the entry."),
    "recursive-alias": Advice("An alias inside the value that it repeats.", "Write the value out."),
    "reserved-name": Advice("A name that has a meaning of its own.", "Choose another."),
    "scattered-routes": Advice("Routes in two files.", "Put them into one, since their order counts."),
    "serial-without-issuer": Advice("A serial number without its issuer.", "Name the issuer."),
    "several-documents": Advice("A second document in one file.", "Put it into a file of its own."),
    "shared-key": Advice("One CA key under two issuers.", "Give each issuer its own CA, or join the two."),
    "strange-character": Advice("A control, invisible or reordering character.", "Remove it."),
    "syntax": Advice(
        "Text that is not YAML.", "Look at the place that is named; quotation marks and indentation first."
    ),
    "tag": Advice("A YAML tag.", "Remove it, and write texts as they are."),
    "test-failed": Advice("A policy test that fails. Told by `test`.", "Mend the policy, or the test."),
    "too-deep": Advice("Lists and mappings too deep inside one another.", "Write it flatter."),
    "too-few": Advice("An empty list or mapping.", "Give at least one item, or leave the key out."),
    "too-large": Advice("A file that is too large.", "Split it."),
    "too-many": Advice("A list with too many items.", "Split it."),
    "unknown-alias": Advice("An alias of nothing, or a text that begins with `*`.", "Put the text in quotation marks."),
    "unknown-key": Advice("A key that doesn't exist there.", "Mend it; the message suggests which."),
    "unknown-kind": Advice("A document of a kind that doesn't exist.", "Write `policy`, `list` or `tests`."),
    "unknown-name": Advice("A name that nothing defines.", "Mend it, or define it."),
    "unreadable": Advice("A file that isn't there or can't be read.", "Put it there, or mend its path or mode."),
    "unsettled": Advice("Files that kept changing while they were read.", "Try again when they are written."),
    "unused-identity": Advice("An identity that no rule and no route names.", "Use it, or take it out."),
    "useless-key": Advice("A key that has no meaning where it stands.", "Take it out, or write what it belongs to."),
    "wrong-length": Advice("A fingerprint with too few or too many digits.", "Copy it once more."),
    "wrong-type": Advice("A list, mapping or text where another of these is expected.", "Do what the message says."),
}

#: Both, by code.
FINDINGS: Final[Mapping[str, Advice]] = {**WARNINGS, **ERRORS}


def page_of(code: str) -> str:
    """Return the section of the documentation that explains a code."""
    return f"{_PAGE}#{code}"
