r"""Answers remembered by the bytes that asked, in front of everything that costs more.

Theory: most requests differ in their certificate, or in the rest of the message, but seldom in both for the first time;
and what is unique to each, the `id`, is never judged. So a payload is cut into three::

    \x09authorize NB-ARGS \x04cert \x09 LENGTH | DER | all other arguments | \x02id \x08 LENGTH TEXT
                                              known by DER   the question       left out

Certificates that no rule can tell apart share one memory of questions. What is remembered was judged by the policy that
this belongs to, and goes with it; a certificate is known only while its dates, its list entries and the evidence about
its revocation stand still; whatever depends on the clock or on switches is forgotten when they move.

A payload that isn't cut like this is judged afresh, and so is a question that was asked only once: requests that never
recur leave nothing behind but a hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spoa.adapter import MESSAGE
from spoa.authorizer import Judgement
from spoa.cache import BoundedCache
from spoa.exceptions import ProtocolError
from spoa.spop import read_messages, write_varint

if TYPE_CHECKING:
    from spoa.adapter import Answers
    from spoa.authorizer import Policy, Standing
    from spoa.facts import Request
    from spoa.policy.model import Decision, Reason

__all__ = ["Known", "Recall"]

#: Certificates and questions in half of a cache; some 1.5 kB and 0.5 kB each.
CERTIFICATES: Final = 16384
QUESTIONS: Final = 32768
#: Questions seen once, of which only a hash is kept.
SEEN: Final = 65536

_HEAD: Final = bytes((len(MESSAGE),)) + MESSAGE
_COUNT: Final = len(_HEAD)
_CERT: Final = b"\x04cert\x09"
_LENGTH: Final = _COUNT + 1 + len(_CERT)
_ID: Final = b"\x02id\x08"
_WITH_ID: Final = b"\x01"
_WITHOUT_ID: Final = b"\x00"
_SHORTEST: Final = _LENGTH + 2
_ONE_BYTE: Final = 240
_TWO_BYTES: Final = 128
_MINUTE: Final = 60
_DAY: Final = 86_400


class Known:
    """A certificate that passes or fails its gates in the same way from `since` until before `until`.

    Attributes:
        standing: what it amounts to.
        group: begins the keys of all questions of certificates that no rule can tell apart.
        days_left: the action that tells how long it is valid, and the number of days.
    """

    __slots__ = ("days", "days_left", "group", "since", "standing", "until")

    def __init__(self, standing: Standing, group: bytes, days: int, days_left: bytes) -> None:
        self.standing = standing
        self.group = group
        self.days = days
        self.days_left = days_left
        self.since = max(standing.since, standing.not_before, standing.not_after - (days + 1) * _DAY + 1)
        self.until = min(standing.not_after - days * _DAY + 1, standing.valid_until)

    def judgement(self, decision: Decision) -> Judgement:
        """Return what judging afresh would have returned, for the log."""
        judgement = Judgement(decision, self.standing)
        judgement.days_left = self.days
        judgement.revocation = self.standing.revocation if self.standing.reason is None else ""
        return judgement


class Recall:
    """The memory of one policy.

    Attributes:
        hits, misses: questions answered from memory, and not.
    """

    def __init__(self, policy: Policy, answers: Answers) -> None:
        self._policy = policy
        self._answers = answers
        self._is_timed = "time" in policy.evaluator.table.columns
        self._circumstances: object = None
        self._seen: set[int] = set()
        self.hits = 0
        self.misses = 0
        self._forget()

    def _forget(self) -> None:
        self._known: BoundedCache[bytes, Known] = BoundedCache(CERTIFICATES)
        self._questions: BoundedCache[bytes, tuple[Decision, bytes]] = BoundedCache(QUESTIONS)
        self._groups: dict[tuple[int, str, Reason | None], bytes] = {}

    def __len__(self) -> int:
        return len(self._questions)

    def look_around(self, now: int) -> None:
        """Forget every answer if the clock or a switch has moved past what it was given under; once for each read."""
        policy = self._policy
        circumstances = (policy.clock_usable, policy.switches, now // _MINUTE if self._is_timed else 0)
        if circumstances != self._circumstances:
            self._circumstances = circumstances
            self._forget()

    def forget(self, der: bytes) -> None:
        """Have a certificate judged anew when it comes again."""
        self._known.pop(der)

    def forget_all(self) -> None:
        """Have everything judged anew."""
        self._forget()

    # Hot path: the whole of a request that recurs. Benchmark: benchmarks/README.md, the recurring shapes.
    def ask(self, payload: bytes, now: int) -> tuple[Known, Decision, bytes] | None:
        """Return what is known of the certificate, the decision and the actions, or None where nothing is."""
        if payload[:_COUNT] != _HEAD or payload[_COUNT + 1 : _LENGTH] != _CERT or len(payload) < _SHORTEST:
            return None
        start, length = _LENGTH + 1, payload[_LENGTH]
        if length >= _ONE_BYTE:
            high = payload[start]
            if high >= _TWO_BYTES:
                return None
            length += high << 4
            start += 1
        end = start + length
        known = self._known.get(payload[start:end])
        if known is None or not known.since <= now < known.until:
            return None
        found = self._questions.get(known.group + _question(payload, end, _question_end(payload, end)))
        if found is None:
            return None
        self.hits += 1
        decision, actions = found
        return known, decision, actions + known.days_left

    def remember(self, payload: bytes, request: Request, judgement: Judgement, now: int) -> None:
        """Keep the answer to *payload*, as judged just now, if it was asked before and is cut as it must be."""
        self.misses += 1
        standing, der, days = judgement.standing, request.cert, judgement.days_left
        if standing is None or days is None or not isinstance(der, bytes) or request.malformed:
            return
        if not standing.not_before <= now <= standing.not_after or standing.soft_fails or standing.questions:
            return  # soft fails are counted one by one, and whoever has a question must get to ask it
        head = _HEAD + payload[_COUNT : _COUNT + 1] + _CERT + write_varint(len(der)) + der
        if not payload.startswith(head):
            return
        cut = _question_end(payload, len(head))
        group = self._group(standing)
        question = group + _question(payload, len(head), cut)
        if not self._is_asked_again(question) or not _is_cut_at_id(payload, cut):
            return
        known = self._known.get(der)
        if known is None or known.standing is not standing or not known.since <= now < known.until:
            self._known.put(der, Known(standing, group, days, self._answers.days_left(days)))
        self._questions.put(question, (judgement.decision, self._answers.without_days(judgement)))

    def _group(self, standing: Standing) -> bytes:
        """Return a short name for all certificates that rules and gates can't tell apart."""
        key = (standing.who, standing.identity, standing.refusal)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = len(self._groups).to_bytes(4)
        return group

    def _is_asked_again(self, question: bytes) -> bool:
        mark = hash(question)
        if mark in self._seen:
            return True
        if len(self._seen) >= SEEN:
            self._seen.clear()
        self._seen.add(mark)
        return False


def _question(payload: bytes, end: int, cut: int) -> bytes:
    """Return what is asked of a certificate: NB-ARGS, whether an id was cut off, and the arguments between.

    Without the second, a payload that breaks off where its id should begin would be taken for a whole one.
    """
    return payload[_COUNT : _COUNT + 1] + (_WITH_ID if cut < len(payload) else _WITHOUT_ID) + payload[end:cut]


def _question_end(payload: bytes, start: int) -> int:
    """Return where a trailing `id` of less than 240 bytes begins, or the end of the payload."""
    cut = payload.rfind(_ID, start, -1)
    if cut < 0 or payload[cut + len(_ID)] >= _ONE_BYTE or cut + len(_ID) + 1 + payload[cut + len(_ID)] != len(payload):
        return len(payload)
    return cut


def _is_cut_at_id(payload: bytes, cut: int) -> bool:
    """Tell whether what was cut off is the last argument of the only message, and not bytes inside another value.

    Decoding depends on nothing but what came before. So if all that stands before the cut is exactly one message of one
    argument less, then after the same bytes there can only follow one `id`, whatever its text.
    """
    if cut == len(payload):
        return True
    without = payload[:_COUNT] + bytes((payload[_COUNT] - 1,)) + payload[_COUNT + 1 : cut]
    try:
        return len(read_messages(without)) == 1
    except ProtocolError:
        return False
