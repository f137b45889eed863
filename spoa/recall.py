"""Answers remembered by the bytes that asked, in front of everything that costs more.

Theory: most requests differ in their certificate, or in the rest of the message, but seldom in both for the first time;
what is unique to each, the `id`, is never judged; and a path that was never seen meets rules that were. So there are
four memories, each asked where another has nothing to say (`cutting` tells how a payload is cut):

1. The whole message but the id, found by its end and compared with what it began with.
2. The *question*, all but certificate and id. Certificates that no rule can tell apart share their questions.
3. All but the path: the conjunctions that hold whatever the path is, and which answers followed for which paths.
4. The certificate itself, without which none is asked.

What is remembered was judged by the policy that this belongs to, and goes with it; a certificate is known only while
its dates, its list entries and the evidence about its revocation stand still; whatever depends on the clock or on
switches is forgotten when they move.

A payload that isn't cut like this is judged afresh, and so is what was asked only once: requests that never recur leave
nothing behind but a hash, mostly. Nor are long ones kept, of which a client could send enough to fill the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from spoa.adapter import read_request
from spoa.cache import LONGEST, BoundedCache, SelectiveCache, Sightings, emptied
from spoa.cutting import (
    HEAD,
    around_path,
    head_of,
    id_after,
    is_cut_at_id,
    is_cut_at_path,
    is_id,
    path_at,
    path_text,
    text_end,
    text_start,
    without_id,
)
from spoa.facts import UNAVAILABLE, Request
from spoa.policy.decision import Decision
from spoa.policy.path import canonical_path, plain_path
from spoa.remembered import AllButPath, Known, Outcome, Recalled
from spoa.spop import CONTINUED, FOLLOWED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.adapter import Answers
    from spoa.authorizer import Judgement, Policy, Standing
    from spoa.policy.model import Reason

__all__ = ["Judged", "Recall"]

#: A request, how it was judged, and its id where that is not the request's own: who asks again shares the request.
Judged: TypeAlias = "tuple[Request, Judgement, str]"

#: Whole messages; some 0.4 kB each, but for certificates, paths that were put right, and, where all is logged, a line
#: of 2 kB at most. So many others have to come before all are dropped.
WHOLE: Final = 16384
PATIENCE: Final = 65536
#: Certificates, questions, and requests but for their path, in half of a cache; some 1.5, 0.5 and 0.6 kB each.
CERTIFICATES: Final = 16384
QUESTIONS: Final = 32768
REQUESTS: Final = 16384
#: Requests as they are described to the log, in half of a cache, and bytes of the longest one that is kept; some 0.8 kB
#: each, and never more than 2 kB.
DESCRIBED: Final = 16384
DESCRIBED_SIZE: Final = 512
#: What was seen once, of which only a hash is kept.
SEEN: Final = 65536
#: Answers to different paths that are kept for requests that are alike but for it.
OUTCOMES: Final = 1024

#: Bytes at the end of a certificate by which it is found.
_TAIL: Final = 16
#: A payload that breaks off where its id should begin is not taken for a whole one.
_WITH_ID: Final = b"\x01"
_WITHOUT_ID: Final = b"\x00"
_MINUTE: Final = 60


class Recall:
    """The memory of one policy.

    Attributes:
        hits, misses: requests answered from memory, and not.
    """

    def __init__(self, policy: Policy, answers: Answers) -> None:
        self._policy = policy
        self._answers = answers
        self._table = policy.evaluator.table
        self._normalises = policy.model.defaults.normalises_path
        self._parameters = policy.model.defaults.allows_path_parameters
        self._is_timed = "time" in policy.evaluator.table.columns
        self._clock_usable = True
        self._switches: frozenset[str] = frozenset()
        self._minute = 0
        self._seen: set[int] = set()
        self._clients = Sightings()
        self._messages = Sightings()
        self._described: BoundedCache[bytes, Request] = BoundedCache(DESCRIBED)
        self._id_size = 0
        self._path_place = 0
        self._unkept = 0
        self.hits = 0
        self.misses = 0
        self._forget()

    def _forget(self) -> None:
        self._drop_whole()
        self._known: SelectiveCache[bytes, Known] = SelectiveCache(CERTIFICATES, sightings=self._clients)
        self._questions: BoundedCache[bytes, Outcome] = BoundedCache(QUESTIONS)
        self._outcomes: dict[tuple[Decision, bytes], Outcome] = {}
        self._requests: BoundedCache[tuple[bytes, bytes, bytes], AllButPath] = BoundedCache(REQUESTS)
        self._alike: dict[tuple[int, str], AllButPath] = {}
        self._groups: dict[tuple[int, str, Reason | None], tuple[bytes, bytes]] = {}

    def _drop_whole(self) -> None:
        self._whole: dict[bytes, Recalled] = {}
        self._shared: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._questions)

    def empty(self) -> Iterator[None]:
        """Forget everything for good, little by little: some entries between two yields."""
        yield from emptied(self._whole)
        yield from emptied(self._shared)
        yield from self._known.empty()
        yield from self._questions.empty()
        yield from emptied(self._outcomes)
        yield from self._requests.empty()
        yield from self._described.empty()
        for alike in list(self._alike.values()):
            yield from emptied(alike.outcomes)
        yield from emptied(self._alike)

    def look_around(self, now: int) -> None:
        """Forget every answer if the clock or a switch has moved past what it was given under; once for each read."""
        policy = self._policy
        minute = now // _MINUTE if self._is_timed else 0
        if minute == self._minute and policy.switches is self._switches and policy.clock_usable is self._clock_usable:
            return
        has_moved = (
            minute != self._minute or policy.switches != self._switches or policy.clock_usable is not self._clock_usable
        )
        self._minute, self._switches, self._clock_usable = minute, policy.switches, policy.clock_usable
        if has_moved:
            self._forget()

    def forget(self, der: bytes) -> None:
        """Have a certificate judged anew when it comes again."""
        self._known.pop(der[-_TAIL:])
        self._drop_whole()  # an answer there may rest on what is known here no longer

    def forget_all(self) -> None:
        """Have everything judged anew."""
        self._forget()

    # Hot path: every request. Benchmark: benchmarks/hotpath.py.
    def ask(self, data: bytes, begin: int, stop: int, now: int) -> Recalled | None:
        """Return what is known of the certificate, and the answer, or None where nothing is.

        The payload is *data* from *begin* to *stop*, which is not cut out where the whole of it is known.
        """
        at = begin + HEAD
        size = self._id_size
        cut = stop - size
        if at + 1 < cut and data[at] >= FOLLOWED and data[at + 1] < CONTINUED:  # as `text_start` and `text_end` have it
            start = at + 2
            end = start + data[at] + (data[at + 1] << 4)
        else:
            start = text_start(data, at)
            if start < 0:
                return None
            end = text_end(data, at, start)
        if end - start < _TAIL or end > stop:
            return None
        # Ids are mostly as long as the last one, and then need not be looked for.
        if cut >= end and (not size or is_id(data, cut, stop)):
            # A certificate ends with its signature, a few bytes of which find it; that it is the same is seen
            # afterwards. Hashing all of it, as a key, costs 1 us more. Benchmark: benchmarks/hotpath.py.
            mark = data[end - _TAIL : cut]
            recalled = self._whole.get(mark)
            if (
                recalled is not None
                and recalled.has_id is (size > 0)
                and recalled.since <= now < recalled.until
                and data[begin:at] == recalled.head
                and data[start:end] == recalled.der
            ):
                self.hits += 1
                return recalled
            recalled = self._ask_in_parts(data, begin, stop, (start, end, cut), mark, now)
            if recalled is not None or size:
                return recalled
        cut = end + len(without_id(data[end:stop]))
        if stop - cut == size:
            return None
        self._id_size = stop - cut
        return self.ask(data, begin, stop, now)

    # Trick: what was never seen isn't looked up among questions, where all but its path is known, nor noted but by a
    # byte. Of 20,000 messages that recur nine in ten are known by it, of 65,536 six; others are put together again from
    # their parts. Benchmark: benchmarks/hotpath.py, the shape of new paths.
    def _ask_in_parts(
        self, data: bytes, begin: int, stop: int, places: tuple[int, int, int], mark: bytes, now: int
    ) -> Recalled | None:
        """Return the answer to a question about a certificate, each of which may have come with others before.

        By its *mark* it is found. Its *places* are where the certificate begins and ends, and where the id begins.
        """
        start, end, cut = places
        is_again = self._messages.is_again(mark)
        known = self._known.get(data[end - _TAIL : end])
        if known is None or not known.since <= now < known.until or data[start:end] != known.der:
            return None
        has_id = cut < stop
        head = data[begin : begin + HEAD]
        opening = head + (known.group_with_id if has_id else known.group)
        found = self._questions.get(opening + data[end:cut]) if is_again else None
        if found is not None:
            recalled = Recalled(known, found, head, has_id=has_id)
            self._keep_whole(mark, recalled)
        else:
            found = self._ask_but_path(opening, data, end, cut)
            if is_again or found is None:
                question = opening + data[end:cut]
                if found is None:  # others may have asked before
                    found = self._questions.get(question)
                    if found is None:
                        return None
                elif len(question) <= LONGEST:
                    self._questions.put(question, found)
            recalled = Recalled(known, found, head, has_id=has_id)
        self.hits += 1
        return recalled

    def _keep_whole(self, mark: bytes, recalled: Recalled) -> None:
        """Keep a whole message; where there are more than fit, those that do stay for a while."""
        if len(self._whole) < WHOLE:
            if len(self._shared) >= WHOLE:  # of messages that came again on another day, or never
                self._shared = {}
            recalled.said = self._shared.setdefault(recalled.said, recalled.said)
            recalled.head = self._shared.setdefault(recalled.head, recalled.head)
            self._whole[mark] = recalled
            return
        self._unkept += 1
        if self._unkept >= PATIENCE:
            self._unkept = 0
            self._drop_whole()  # what recurs comes again, from the questions

    # Trick: a line of the log needs what recurs with the question, not a payload that is decoded anew.
    # Benchmark: benchmarks/agent.py, the part "logging".
    def request_of(self, data: bytes, begin: int, stop: int, recalled: Recalled) -> tuple[Request, str]:
        """Return what a payload asked that was *recalled* just now, but certificate and headers, and its id.

        The payload is *data* from *begin* to *stop*. For the log: whoever asks the same again shares the same request.
        """
        cut = stop - self._id_size  # as it was asked
        identifier = id_after(data, cut, stop).decode("utf-8", "surrogateescape") if recalled.has_id else ""
        return recalled.request or self._described_by(data[begin:stop], cut - begin, recalled), identifier

    def _described_by(self, payload: bytes, cut: int, recalled: Recalled) -> Request:
        question = payload[:HEAD] + payload[text_end(payload, HEAD, text_start(payload, HEAD)) : cut]
        request = self._described.get(question)
        if request is not None:
            recalled.request = request
            return request
        request = read_request(payload) or Request()
        request.cert, request.headers = UNAVAILABLE, {}
        if recalled.has_id:
            request.id = ""
        if len(question) <= DESCRIBED_SIZE and self._is_asked_again(question):
            self._described.put(question, request)
        return request

    # Hot path: a request whose path was never seen. Benchmark: benchmarks/hotpath.py, the shape of new paths.
    def _ask_but_path(self, opening: bytes, data: bytes, end: int, cut: int) -> Outcome | None:
        """Return the answer to a request of which all but the path is known; its arguments go from *end* to *cut*.

        Wherever the path is cut out, what stands around it is known only if it was cut out there when it was judged.
        """
        at = path_at(data, end + self._path_place, end, cut)
        if at < 0:
            return None
        self._path_place = at - end
        start, stop = path_text(data, at, cut)
        if start < 0:
            return None
        request = self._requests.get((opening, data[end:at], data[stop:cut]))
        if request is None:
            return None
        text = data[start:stop]
        path = plain_path(text) or canonical_path(
            text.decode("latin-1"), normalise=self._normalises, parameters=self._parameters
        )
        if path is None:
            return None
        found = request.gate
        if found is None:
            bits = self._table.path(path)
            found = request.outcomes.get(bits)
            if found is None:
                found = self._decide(request, bits)
            if self._normalises:
                return Outcome(found.decision, found.actions + self._answers.path(path.text))
        return found

    def _decide(self, request: AllButPath, bits: int) -> Outcome:
        decision = self._policy.evaluator.answer(request.holding & bits, request.identity, self._switches)
        outcome = self._outcome(decision, self._answers.of_decision(decision))
        if len(request.outcomes) >= OUTCOMES:
            request.outcomes.clear()
        request.outcomes[bits] = outcome
        return outcome

    def remember(self, payload: bytes, request: Request, judgement: Judgement, now: int) -> None:
        """Keep the answer to *payload*, as judged just now, if it was asked before and is cut as it must be."""
        self.misses += 1
        standing, der, days = judgement.standing, request.cert, judgement.days_left
        if standing is None or days is None or not isinstance(der, bytes) or request.malformed or len(der) < _TAIL:
            return
        if not self._clock_usable:
            return  # who is denied for that has not been looked at any further, which the log must tell
        if not standing.not_before <= now <= standing.not_after or standing.soft_fails or standing.questions:
            return  # soft fails are counted one by one, and whoever has a question must get to ask it
        head = head_of(payload, der)
        if not payload.startswith(head):
            return
        end = len(head)
        asked = without_id(payload[end:])
        cut = end + len(asked)
        groups = self._groups_of(standing)
        begin = payload[:HEAD] + groups[cut != len(payload)]
        question = begin + asked
        is_again = len(question) <= LONGEST and self._is_asked_again(question)
        is_known = self._remember_but_path(payload, request, standing, (begin, asked, end), now)
        if not (is_again or is_known) or not is_cut_at_id(payload, cut):
            return
        known = self._known.get(der[-_TAIL:])
        if known is None or known.standing is not standing or not known.since <= now < known.until:
            self._known.put(der[-_TAIL:], Known(standing, groups, days, self._answers.days_left(days)))
        if is_again:
            self._questions.put(question, self._outcome(judgement.decision, self._answers.without_days(judgement)))

    def _outcome(self, decision: Decision, actions: bytes) -> Outcome:
        """Return an answer, of which many requests have the same."""
        key = decision, actions
        found = self._outcomes.get(key)
        if found is None:
            if len(self._outcomes) >= OUTCOMES:  # each has a path of its own, then
                self._outcomes.clear()
            found = self._outcomes[key] = Outcome(decision, actions)
        return found

    def _remember_but_path(
        self, payload: bytes, request: Request, standing: Standing, parts: tuple[bytes, bytes, int], now: int
    ) -> bool:
        """Keep what is known of a request but for its path, if it is asked again; tell whether it is known."""
        begin, asked, end = parts
        cut = around_path(asked)
        if cut is None:
            return False
        before, _, after = cut
        key = (begin, before, after)
        if len(before) + len(after) > LONGEST:
            return False
        if self._requests.get(key) is not None:
            return True
        if not self._is_asked_again(key):
            return False
        if not is_cut_at_id(payload, end + len(asked)) or not is_cut_at_path(payload, end + len(before)):
            return False
        found = self._policy.judge_but_path(request, standing, now)
        if found is None:
            return False
        if isinstance(found, Decision):
            alike = AllButPath(0, "", self._outcome(found, self._answers.of_decision(found)))
        else:
            alike = self._all_but_path(found, standing.identity)
        self._requests.put(key, alike)
        return True

    def _all_but_path(self, holding: int, identity: str) -> AllButPath:
        """Return what all requests share that differ in nothing that a rule tells apart, but for the path."""
        alike = self._alike.get((holding, identity))
        if alike is None:
            if len(self._alike) >= REQUESTS:
                self._alike.clear()  # who shares them already goes on to
            alike = self._alike[holding, identity] = AllButPath(holding, identity, None)
        return alike

    def _groups_of(self, standing: Standing) -> tuple[bytes, bytes]:
        """Return short names for all certificates that rules and gates can't tell apart, without an id and with one."""
        key = (standing.who, standing.identity, standing.refusal)
        groups = self._groups.get(key)
        if groups is None:
            name = len(self._groups).to_bytes(4)
            groups = self._groups[key] = name + _WITHOUT_ID, name + _WITH_ID
        return groups

    def _is_asked_again(self, question: object) -> bool:
        mark = hash(hash(question))  # as in `Sightings`
        if mark in self._seen:
            return True
        if len(self._seen) >= SEEN:
            self._seen.clear()
        self._seen.add(mark)
        return False
