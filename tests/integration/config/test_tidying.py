"""A fence stands as long as anybody waits for the fenced pod, and not for ever."""

from components.bus.buckets import Bucket
from components.config.tidying import Tidier
from components.config.world import KEPT_S
from contracts import storage
from contracts.ids import Epoch
from contracts.message import encode
from contracts.records import EarlierOwner
from tests.integration.config.cluster import Cluster
from tests.unit.config.town import Town


async def fenced(cluster: Cluster, town: Town) -> tuple[Bucket, Tidier, EarlierOwner, int]:
    """A pod that is gone, as the town's view has it too: the bucket, the broom, the pod as the
    owner of epoch 1, and the revision of its fence."""
    config = await cluster.nats.connect("config")
    bucket = Bucket(config, storage.PODS)
    pod = await cluster.pod("gateway-0")
    fence = pod.lease("fenced")
    await pod.vanish()
    revision = await bucket.put("gateway-0", encode(fence))
    entry = await bucket.get("gateway-0")
    assert entry is not None
    town.view.entry(storage.PODS, entry)
    assert fence.incarnation is not None  # it has started
    owner = EarlierOwner(pod=pod.name, incarnation=fence.incarnation, epoch=Epoch(1))
    return bucket, Tidier(config, town.view), owner, revision


async def test_a_fence_that_nothing_waits_for_is_removed_after_a_while(cluster: Cluster) -> None:
    town = Town()
    bucket, tidier, before, revision = await fenced(cluster, town)
    town.pod("gateway-1")
    town.owned("1", "gateway-1", epoch=2, before=[before], held=False)
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
    town = Town()
    bucket, tidier, _, _ = await fenced(cluster, town)
    await tidier.once(town.now_s + KEPT_S - 1)
    assert (await bucket.snapshot()).keys() == {"gateway-0"}
    await tidier.once(town.now_s + KEPT_S + 1)
    assert not await bucket.snapshot()
