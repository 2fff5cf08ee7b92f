"""A fence stands as long as anybody waits for the fenced pod, and not for ever."""

from components.bus.buckets import Bucket
from components.config.tidying import Tidier
from components.config.view import View
from components.config.world import KEPT_S
from contracts import storage
from contracts.ids import Epoch
from contracts.message import encode
from contracts.records import EarlierOwner
from tests.integration.config.cluster import Cluster
from tests.unit.config.town import Town


async def test_a_fence_that_nothing_waits_for_is_removed_after_a_while(cluster: Cluster) -> None:
    config = await cluster.nats.connect("config")
    bucket = Bucket(config, storage.PODS)
    pod = await cluster.pod("gateway-0")
    fence = pod.lease("fenced")
    await pod.vanish()
    revision = await bucket.put("gateway-0", encode(fence))
    entry = await bucket.get("gateway-0")
    assert entry is not None
    town = Town()
    view: View = town.view
    view.entry(storage.PODS, entry)
    town.pod("gateway-1")
    assert fence.incarnation is not None  # it has started
    before = EarlierOwner(pod=pod.name, incarnation=fence.incarnation, epoch=Epoch(1))
    town.owned("1", "gateway-1", epoch=2, before=[before], held=False)
    tidier = Tidier(config, view)
    town.later(KEPT_S + 1)
    town.settle()
    await tidier.once(town.now_s)
    entry = await bucket.get("gateway-0")
    assert entry is not None
    assert entry.revision == revision, "guild 1 may wait for its silence"
    town.settle(built=True)
    await tidier.once(town.now_s)
    assert not await bucket.snapshot()


async def test_a_fence_that_nothing_needs_is_shown_for_a_while(cluster: Cluster) -> None:
    config = await cluster.nats.connect("config")
    bucket = Bucket(config, storage.PODS)
    pod = await cluster.pod("gateway-0")
    fence = pod.lease("fenced")
    await pod.vanish()
    await bucket.put("gateway-0", encode(fence))
    entry = await bucket.get("gateway-0")
    assert entry is not None
    town = Town()
    town.view.entry(storage.PODS, entry)
    tidier = Tidier(config, town.view)
    await tidier.once(town.now_s + KEPT_S - 1)
    assert (await bucket.snapshot()).keys() == {"gateway-0"}
    await tidier.once(town.now_s + KEPT_S + 1)
    assert not await bucket.snapshot()
