"""What holds whatever happens to pods, in whatever order, and however late it is seen."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from components.config.index import is_open
from contracts.records import Assignment
from tests.unit.config.town import Town

NAMES = ("a", "b", "c")
GUILDS = tuple(str(number) for number in range(1, 9))
names, guilds = st.sampled_from(NAMES), st.sampled_from(GUILDS)


class Cluster(RuleBasedStateMachine):
    """Pods that start, die, lose their disks and drain, under the real leader."""

    def __init__(self) -> None:
        super().__init__()
        self.town = Town()
        self.starts = dict.fromkeys(NAMES, 0)
        self.disks = dict.fromkeys(NAMES, 0)
        self.epochs: dict[str, Assignment] = {}

    @initialize(backup=st.booleans())
    def begin(self, backup: bool) -> None:
        self.backup = backup
        for name in NAMES:
            self.starts_anew(name, wiped=False)
        self.town.register(*GUILDS)

    @rule(name=names, wiped=st.booleans())
    def starts_anew(self, name: str, wiped: bool) -> None:
        """A new start holds the lease; the one before has ended."""
        self.starts[name] += 1
        self.disks[name] += wiped
        number = self.starts[name]
        self.town.deaf.discard(name)
        self.town.pod(
            name,
            number,
            data=f"disk {self.disks[name]} of {name}",
            process=f"{name}{number}",
            replica=f"pods/{name}/b-{number}" if self.backup else "",
        )

    @rule(name=names)
    def is_killed(self, name: str) -> None:
        self.town.ended(name, f"{name}{self.starts[name]}")

    @rule(name=names)
    def hangs(self, name: str) -> None:
        self.town.deaf.add(name)

    @rule(name=names)
    def expires(self, name: str) -> None:
        self.town.expire(name)

    @rule(name=names, draining=st.booleans())
    def drains(self, name: str, draining: bool) -> None:
        self.town.drain(name, draining=draining)

    @rule(guild=guilds, name=st.none() | names)
    def pins(self, guild: str, name: str | None) -> None:
        self.town.pin(guild, name)

    @rule(built=st.booleans(), seconds=st.sampled_from([0.0, 0.6, 3.0, 9.0, 61.0]))
    def goes_on(self, built: bool, seconds: float) -> None:
        self.town.later(seconds)
        self.town.settle(built=built)

    @rule()
    def one_step(self) -> None:
        self.town.once()

    @rule()
    def another_leads(self) -> None:
        self.town.leader.begin(self.town.now_s)

    @invariant()
    def epochs_only_grow_and_name_one_owner_each(self) -> None:
        for guild, held in self.town.view.assignments.items():
            owned, known = held.assignment, self.epochs.get(guild)
            if known is not None:
                assert owned.epoch >= known.epoch
                if owned.epoch == known.epoch:
                    assert (owned.pod, owned.incarnation) == (known.pod, known.incarnation)
                    self._who_is_left_out_is_silent(owned, known)
                if owned.epoch > known.epoch:
                    self._earlier_owner_is_named(owned, known)
            self.epochs[guild] = owned

    @invariant()
    def owner_and_follower_are_two_pods(self) -> None:
        for held in self.town.view.assignments.values():
            follower = held.assignment.follower
            assert follower is None or follower.pod != held.assignment.pod

    @invariant()
    def what_was_known_to_have_the_rows_is_never_all_forgotten(self) -> None:
        """Owner, follower, joining or a source: somebody who said that it holds the rows is
        named, and so keeps them (0006, step 21)."""
        for guild, held in self.town.view.assignments.items():
            said = self.town.view.holds.get(guild, {})
            if not said:
                continue
            owned = held.assignment
            named = (owned, owned.follower, owned.joining, *owned.sources)
            at = {(one.pod, one.incarnation) for one in named if one is not None}
            assert any((pod, one.incarnation) in at for pod, one in said.items()), (guild, owned)

    @invariant()
    def the_index_counts_right(self) -> None:
        view = self.town.view
        for name in NAMES:
            owned = [h for h in view.assignments.values() if h.assignment.pod == name]
            assert view.index.owned.get(name, 0) == len(owned)  # type: ignore[call-overload]

    def _who_is_left_out_is_silent(self, owned: Assignment, known: Assignment) -> None:
        view = self.town.view
        for one in known.before:
            if one not in owned.before:
                assert is_open(known, view.holds.get(known.guild, {}).get(known.pod))
                assert view.evidence.silent(known.guild, one, self.town.now_s)

    def _earlier_owner_is_named(self, owned: Assignment, known: Assignment) -> None:
        """Or was known to be silent when it was decided."""
        if owned.epoch != known.epoch + 1:
            return
        start = (known.pod, known.incarnation)
        if any((one.pod, one.incarnation) == start for one in owned.before):
            return
        lease = self.town.view.pods[known.pod].lease
        assert lease is not None
        ended = self.town.view.evidence.has_ended(known.pod, known.incarnation)
        fenced = self.town.view.evidence.is_fenced(known.pod, known.incarnation)
        assert ended or fenced or lease.incarnation != known.incarnation


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
