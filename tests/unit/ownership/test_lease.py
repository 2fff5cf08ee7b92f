"""0006, step 1: a lease is held for TTL minus margin from before the renewal was sent."""

from components.ownership.lease import LeaseClock


def clock() -> LeaseClock:
    return LeaseClock(ttl_s=5.0, margin_s=0.5)


def test_a_lease_is_not_held_before_the_first_acknowledgement() -> None:
    assert not clock().valid(0.0)


def test_it_is_held_for_ttl_minus_margin_from_the_sending() -> None:
    lease = clock()
    lease.renewed(10.0)
    assert lease.valid(14.4)
    assert not lease.valid(14.5)
    assert lease.remaining_s(14.0) == 0.5


def test_a_late_acknowledgement_of_an_older_renewal_shortens_nothing() -> None:
    lease = clock()
    lease.renewed(12.0)
    lease.renewed(10.0)
    assert lease.valid(16.0)


def test_a_lost_lease_stays_lost() -> None:
    lease = clock()
    lease.renewed(10.0)
    lease.lose()
    lease.renewed(11.0)
    assert not lease.valid(11.0)
