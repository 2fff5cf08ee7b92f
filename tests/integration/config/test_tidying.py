"""A fence stands as long as anybody waits for the fenced pod, and not for ever."""

from components.bus.buckets import Bucket
from components.config.tidying import KEPT_S, Tidier
from components.config.view import View
from contracts import storage
from contracts.message import encode
from tests.integration.config.cluster import Cluster
from tests.unit.config.town import Town, earlier


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
    town.owned("1", "gateway-1", before=[earlier("gateway-0")])
    tidier = Tidier(config, view)
    await tidier.once(town.now_s + KEPT_S + 1)
    entry = await bucket.get("gateway-0")
    assert entry is not None
    assert entry.revision == revision, "guild 1 waits for its silence"
    town.owned("1", "gateway-1", epoch=2)
    await tidier.once(town.now_s + KEPT_S - 1)
    assert (await bucket.snapshot()).keys() == {"gateway-0"}
    await tidier.once(town.now_s + KEPT_S + 1)
    assert not await bucket.snapshot()
